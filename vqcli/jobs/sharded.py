"""Work in shards: it goes on after an interruption, and several processes may share it.

A ``Work`` says which shards there are, which are done and how they are done; an ``Engine`` has it done.
Shards are written whole, with the same bytes whoever makes them: anywhere, in any order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from vqcli import files
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs import places
from vqcli.jobs.plans import Plan, begin
from vqcli.jobs.processes import meet
from vqcli.training.accelerator import starting
from vqcli.types import Progress, silent

T = TypeVar("T")
SHARD = 256
"""Images a shard holds at most, and so the work that a kill can cost a process, where images are read."""
PATIENCE = timedelta(days=1)
"""How long processes wait for the slowest one; a launcher ends them all when one dies."""
FAILED = f"{files.TEMPORARY}failed"
"""In a job's folder while its processes end, since one of them has failed."""


class Work(ABC, Generic[T]):
    """Shards 0, 1, ... of one kind; a job of several phases is several works, done one after the other."""

    what: str
    """What is done, in a word, for a progress bar."""
    unit: str = "images"
    shards: int
    """How many there are."""
    together: bool = False
    """Every process does every shard, all at the same time: their parts are one calculation."""

    @abstractmethod
    def size(self, k: int) -> int:
        """Units of shard ``k``."""

    def effort(self, shards: Sequence[int]) -> int:
        """Units by which ``do`` advances: more than their size where batches are filled up."""
        return sum(map(self.size, shards))

    @abstractmethod
    def done(self, k: int) -> bool:
        """Whether shard ``k`` is there, whole: it is not done again. Raises VqcliError if it is damaged:
        ``whole`` says so, and it is done again."""

    @abstractmethod
    def do(self, shards: Sequence[int], progress: Progress) -> None:
        """Do these shards in order, and commit each when it is whole. They come as one list: loading need
        not pause between them.
        """

    @abstractmethod
    def finish(self) -> T:
        """What all shards came to: called by the first process alone, when all are done."""


def whole(work: Work[Any], k: int, progress: Progress = silent) -> bool:
    """Whether a shard is done; one that is damaged is not, and that is said."""
    return places.whole(partial(work.done, k), progress)


class Engine:
    """Has work done by this process, or by all that a launcher has started: each makes the same calls."""

    def __init__(self, device: str | None, progress: Progress = silent) -> None:
        """Without being told, accelerate takes processes on CPUs for one process each."""
        cpu = meet(device, progress, PATIENCE).type == "cpu"
        with starting():
            state = PartialState(cpu=cpu)
        self.rank, self.processes = state.process_index, state.num_processes
        self.local_rank = state.local_process_index
        """Number of this process on its machine."""
        self._failed: Path | None = None

    def first(self, call: Callable[[], T]) -> T:
        """Let the first process do something alone; all get what it returns, or end with its error."""
        told: list[Any] = [None, None]
        error: Exception | None = None
        if self.rank == 0:
            try:
                told[0] = call()
            except Exception as e:
                error, told[1] = e, _sentence(e, self.rank)
        broadcast_object_list(told)
        if failed := error or told[1]:
            raise failed
        return told[0]

    def each(self, call: Callable[[], T]) -> T:
        """Let every process do something; where one fails, all end with its error."""
        error: Exception | None = None
        try:
            value = call()
        except Exception as e:
            error = e
        told = [e for e in gather_object([error and _sentence(error, self.rank)]) if e]
        if error and not isinstance(error, _Stopped):
            raise error
        if told:
            raise told[0]
        return value

    def free(self, out: Path, folder: Path, check: Callable[[], None]) -> None:
        """Let the first process ``check`` that a job's place is free, before models are loaded.

        What killed and finished jobs left of ``out`` and their ``folder`` goes first: the check may end this
        command. Raises VqcliError where another process is at it.
        """

        def asked() -> None:
            with files.claimed(out):
                files.clean_beside(folder)
                check()

        self.first(asked)

    @contextmanager
    def taking(
        self,
        folder: Path,
        plan: Callable[[], Plan],
        check: Callable[[], None],
        *,
        force: bool = False,
        becomes: Path | None = None,
    ) -> Iterator[None]:
        """Hold a folder for a job. Raises VqcliError where another process has it, or another job lies there.

        The first process alone makes the ``plan``, and lets ``check`` say whether the place is free, now that
        nobody else can come first. ``becomes`` is the file that the folder's work ends as, if it does.
        """
        with ExitStack() as held:

            def take() -> None:
                if becomes and becomes != folder:
                    held.enter_context(files.claimed(becomes))
                    check()  # before there is a folder
                held.enter_context(files.locked(folder))
                check()
                begin(folder, plan(), force=force)

            self.first(take)
            self._failed = folder / FAILED if self.processes > 1 else None
            try:
                yield
            finally:
                if self._failed and self.rank == 0:
                    self._failed.unlink(missing_ok=True)

    @contextmanager
    def claiming(self, paths: Iterable[Path], check: Callable[[], None]) -> Iterator[None]:
        """Let the first process be the one that makes these files or folders.

        Raises VqcliError where another process is at one. ``check`` says whether they are free, now that
        nobody else can come first.
        """
        with ExitStack() as held:

            def claim() -> None:
                for path in paths:
                    held.enter_context(files.claimed(path))
                check()

            self.first(claim)
            yield

    def run(self, work: Work[T], progress: Progress = silent) -> T:
        """Do what is left of a work and finish it; all processes get what it came to.

        Where one fails, all end with its error: at once, but in work that is done ``together``, where the
        others wait for this process in the middle of a calculation, and lose it when it ends.
        """
        if work.together:
            self._share(work, range(work.shards), progress)
        else:
            self.each(partial(self._watched, work, progress))
        return self.first(work.finish)

    def _watched(self, work: Work[Any], progress: Progress) -> None:
        """Do this process's share; it ends as soon as another process has failed."""
        mine = range(self.rank, work.shards, self.processes)
        if not self._failed:
            return self._share(work, mine, progress)
        try:
            self._share(work, mine, _Watching(progress, self._failed))
        except _Stopped:
            raise
        except Exception:
            with suppress(VqcliError):  # a full disk: the others find out when they are done
                files.write_text(self._failed, "")
            raise

    def _share(self, work: Work[Any], mine: range, progress: Progress) -> None:
        todo = [k for k in mine if not whole(work, k, progress)]
        before = sum(work.size(k) for k in sorted(set(mine) - set(todo)))
        several = self.processes > 1 and not work.together
        share = f" (process {self.rank + 1} of {self.processes})" if several else ""
        progress.start(f"{work.what}{share}", before + work.effort(todo), work.unit, before)
        work.do(todo, progress)


class _Stopped(Exception):
    """Another process has failed."""


@dataclass(frozen=True)
class _Watching:
    """A progress that ends the work where a file tells that another process has failed."""

    progress: Progress
    failed: Path

    def start(self, what: str, total: int | None, unit: str, done: int = 0) -> None:
        self.progress.start(what, total, unit, done)

    def advance(self, n: int = 1) -> None:
        if files.exists(self.failed):
            raise _Stopped
        self.progress.advance(n)

    def show(self, **numbers: Any) -> None:
        self.progress.show(**numbers)

    def say(self, text: str) -> None:
        self.progress.say(text)


def _sentence(error: Exception, rank: int) -> Exception | None:
    """An error as other processes end with it; theirs may not know its class."""
    if isinstance(error, _Stopped):
        return None
    if isinstance(error, (VqcliError, BadImage)):
        return error
    return VqcliError(
        f"process {rank + 1} failed: {type(error).__name__}: {error}", hint="see its own message"
    )
