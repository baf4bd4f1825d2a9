"""Files that claim, or unpack to, far more than they are, and what never ends: what reading them takes."""

from __future__ import annotations

import os
import select
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.reliability.bomb_cases import Bomb, bombs
from tests.reliability.trials import Part, Trial
from vqcli.errors import BadImage, VqcliError

MOST, LONGEST, HANGS = 1000, 60, 150
"""Megabytes above a process that reads nothing, seconds of computing, and seconds after which it is ended."""


class Bombs(Part):
    """Each is read in a process of its own, which is forked from one that has imported all it needs."""

    name, figure, goal, share = "bombs", "files larger than they look", 50, 14

    def __init__(self) -> None:
        self._idle = 0

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        for one in bombs():
            yield Trial(one.name, self._trial(one))

    def _trial(self, one: Bomb) -> Callable[[Path], str]:
        def run(folder: Path) -> str:
            self._idle = self._idle or forked(lambda: None)[1]
            path = folder / one.file
            made, _, _ = forked(lambda: one.make(path))
            if made:
                return f"the file was not made: {made}"
            said, most, seconds = forked(lambda: one.read(path))
            wrong = []
            if most - self._idle > MOST:
                wrong.append(f"it took {most - self._idle:,} MB")
            if seconds > LONGEST:
                wrong.append(f"it took {seconds:.0f} s")
            reason, _, message = said.partition(": ")
            if reason not in one.reasons:
                wrong.append(f"it ended as {said[-1000:] or 'if all were well'}")
            if len(message) > 400:
                wrong.append(f"a message of {len(message):,} letters")
            return "; ".join(wrong)

        return run


def forked(call: Callable[[], object]) -> tuple[str, int, float]:
    """How a call ends in a process of its own, its peak of memory in MB, and its seconds of computing.

    Empty if it returns; ``reason: message`` of the errors that users see.
    """
    reader, writer = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.close(reader)
        os.write(writer, ended(call).encode("utf-8", "replace")[: 1 << 16])
        os._exit(0)
    os.close(writer)
    said = b""
    with os.fdopen(reader, "rb", 0) as pipe:
        while select.select([pipe], [], [], max(0, began + HANGS - time.monotonic()))[0]:
            part = pipe.read(1 << 16)
            said += part
            if not part:
                break
        else:
            os.kill(child, 9)
            said = b"hangs"
    _, status, usage = os.wait4(child, 0)
    if status and not said:
        said = f"died: {status}".encode()
    return said.decode(), usage.ru_maxrss >> 10, usage.ru_utime + usage.ru_stime


def ended(call: Callable[[], object]) -> str:
    try:
        call()
    except (VqcliError, BadImage) as e:
        return f"{e.reason}: {e}"
    except BaseException:
        return traceback.format_exc()
    return ""
