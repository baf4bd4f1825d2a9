"""Sittings of a run in processes forked from this one, which has imported torch and computed nothing yet.

A sitting can be stopped by a signal at a step, or killed in the middle of what it writes.
"""

import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch

from tests.training.tiny import Recorded
from vqcli import signals
from vqcli.cli.verdict import verdict
from vqcli.jobs.options import TrainOptions
from vqcli.jobs.train import train

PATIENCE = 120
"""Seconds after which a process that has not ended hangs."""
SURVIVAL = 30
"""Seconds in which a process ends after another one of its job has died."""


@dataclass(frozen=True)
class Stop:
    """How a sitting is ended before its time."""

    rank: int = 0
    """Of the process that it comes to."""
    step: int | None = None
    """The step at which that process is sent a signal."""
    number: int = signal.SIGTERM
    moment: int | None = None
    """How many times files were flushed or took their names when it is killed: before an even one of these
    moments, what is being flushed half written; behind an odd one."""


class Stopping(Recorded):
    """Progress that sends another signal than SIGTERM."""

    def __init__(self, stop: Stop | None) -> None:
        super().__init__(stop.step if stop else None)
        self.number = stop.number if stop else signal.SIGTERM

    def advance(self, n: int = 1) -> None:
        """Send it at the step."""
        self.steps += n
        if self.steps == self.stop_at:
            os.kill(os.getpid(), self.number)


@dataclass(frozen=True)
class End:
    """How a process ended."""

    code: int
    """As a shell tells it; negative by a signal."""
    said: str
    """What became of it in words, and its traceback, if any."""
    seconds: float
    """After the first process of its job."""


def prepare(options: TrainOptions, talk: Path) -> None:
    """Train in a forked process, and load here what that loaded: later ones need not."""
    loaded = talk / "modules"
    if child := os.fork():
        os.waitpid(child, 0)
    else:
        try:
            train(options)
            loaded.write_text("\n".join(sys.modules))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    for name in (*loaded.read_text().splitlines(), "torch.distributed.nn.functional"):
        with suppress(Exception):
            import_module(name)
    gc.collect()
    gc.freeze()  # what children share is not looked through, and not copied


def sitting(options: TrainOptions, talk: Path, processes: int = 1, stop: Stop | None = None) -> list[End]:
    """Train in forked processes until they end."""
    port = _free_port()
    children = []
    for rank in range(processes):
        said = talk / f"said-{rank}"
        if child := os.fork():
            children.append((child, said))
        else:
            _child(options, said, (rank, processes, port), stop if stop and stop.rank == rank else None)
    codes = _codes([child for child, _ in children])
    first = min(at for _, at in codes)
    words = [said.read_text() if said.exists() else "" for _, said in children]
    return [End(code, told, at - first) for (code, at), told in zip(codes, words)]


def _codes(children: list[int]) -> list[tuple[int, float]]:
    """The exit code of each child, and when it ended; one that hangs is killed, which is 99."""
    until, found = time.monotonic() + PATIENCE, {}
    while len(found) < len(children):
        for child in [each for each in children if each not in found]:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                found[child] = (os.waitstatus_to_exitcode(status), time.monotonic())
            elif time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                found[child] = (99, time.monotonic())
        time.sleep(0.005)
    return [found[child] for child in children]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _child(options: TrainOptions, said: Path, place: tuple[int, int, int], stop: Stop | None) -> None:
    rank, processes, port = place
    code, words = 1, ""
    try:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (the process ends with it)
        if processes > 1:
            numbers = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": processes,
                "LOCAL_WORLD_SIZE": processes,
            }
            os.environ |= {name: str(number) for name, number in numbers.items()}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        signals.stop_at_once()
        torch.set_num_threads(1)
        moments = count_moments(stop.moment if stop else None)
        progress = Stopping(stop)
        train(options, progress)
        code, words = 0, "\n".join([f"moments {moments()}", *progress.said])
    except BaseException as e:
        code, message, hint, reason = verdict(e, "")
        words = f"{reason}: {message} ({hint})\n{traceback.format_exc() if reason == 'internal' else ''}"
    finally:
        with suppress(BaseException):
            said.write_text(words)
        os._exit(code)


def count_moments(last: int | None) -> Callable[[], int]:
    """Count moments of writing in this process from now on, and kill it at the ``last``; tells how many."""
    seen = 0

    def around(call: Callable[..., object], half: bool) -> Callable[..., object]:
        def counted(*arguments: object, **options: object) -> object:
            nonlocal seen
            if seen == last:
                if half and isinstance(file := arguments[0], int):
                    with suppress(OSError):  # of a folder
                        os.ftruncate(file, os.fstat(file).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            found = call(*arguments, **options)
            if seen + 1 == last:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 2
            return found

        return counted

    for name in ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir"):
        setattr(os, name, around(getattr(os, name), name == "fsync"))
    return lambda: seen
