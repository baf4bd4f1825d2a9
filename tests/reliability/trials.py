"""What every part of the reliability figures is made of: trials, and how they end."""

import random
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trial:
    """One thing that is tried."""

    name: str
    """Unlike all others of its part, and the same whenever it is tried: ``encode/write/17/ENOSPC``."""
    run: Callable[[Path], str]
    """Tries it in an empty folder of its own. ``""`` if what is promised holds, else how it does not, in
    a sentence. What it raises counts as not holding."""
    count: int = 1
    """Of how many single things it consists: bits, executions."""


class Part(ABC):
    """A row of the table."""

    name: str
    """A word: ``faults``."""
    figure: str
    """What is counted, in words: ``injected faults``."""
    goal: int
    """How many at least, all of them."""
    share: int
    """How many trials are a part of ``make check``."""

    @abstractmethod
    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        """All trials, cheap to list. ``base`` is a folder that stays: models and undisturbed results that
        trials start from are made there, once, and never changed by a trial."""

    def close(self) -> None:  # noqa: B027 (most parts leave nothing)
        """End what trials have left running."""


def kind_of(trial: Trial) -> str:
    """What its name begins with."""
    return trial.name.partition("/")[0]


def drawn(trials: Sequence[Trial], number: int, seed: int) -> list[Trial]:
    """As many of the trials, spread over their kinds (what their names begin with), the same for a seed."""
    chance = random.Random(seed)
    kinds: dict[str, list[Trial]] = {}
    for trial in trials:
        kinds.setdefault(kind_of(trial), []).append(trial)
    for kind in kinds.values():
        chance.shuffle(kind)
    found: list[Trial] = []
    while len(found) < min(number, len(trials)):
        for kind in kinds.values():
            if kind and len(found) < number:
                found.append(kind.pop())
    return found


def mine(trial: Trial, worker: int, workers: int) -> bool:
    """Whether a trial is this worker's: the same one's whenever it is asked."""
    return zlib.crc32(trial.name.encode()) % workers == worker
