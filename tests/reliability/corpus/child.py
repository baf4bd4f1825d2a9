"""The command line in a forked child: what it said, how it ended, what it took."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

LIMIT, ROOM = 60.0, 6 << 30
"""Seconds, and bytes of address space beyond what the parent has: a bomb ends itself, not the machine."""
MOST_SAID = 8 << 20


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str
    grown: int
    """Bytes of memory at most, above those of the parent."""
    seconds: float


def resident() -> int:
    """Bytes of memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> Ended:
    """``vqcli ARGUMENTS`` in a folder; killed after ``LIMIT`` seconds."""
    before, began = resident(), time.monotonic()
    pipes = [os.pipe(), os.pipe()]
    pid = os.fork()
    if not pid:
        _child(arguments, folder, environment, pipes)
    said = _read([reader for reader, _ in pipes], [writer for _, writer in pipes], pid, began + LIMIT)
    _, status, used = os.wait4(pid, 0)
    grown = used.ru_maxrss * 1024 - before
    out, err = (text.decode("utf-8", "replace") for text in said)
    return Ended(os.waitstatus_to_exitcode(status), out, err, grown, time.monotonic() - began)


def _read(readers: list[int], writers: list[int], pid: int, until: float) -> list[bytes]:
    for writer in writers:
        os.close(writer)
    said, open_ones, killed = dict.fromkeys(readers, b""), set(readers), False
    while open_ones:
        ready, _, _ = select.select(list(open_ones), [], [], max(0.0, until - time.monotonic()))
        if not ready and not killed:
            os.kill(pid, signal.SIGKILL)
            killed, until = True, until + 10
        elif not ready:
            break
        for reader in ready:
            data = os.read(reader, 1 << 16)
            if not data:
                open_ones.discard(reader)
            elif len(said[reader]) < MOST_SAID:
                said[reader] += data
    for reader in readers:
        os.close(reader)
    return [said[reader] for reader in readers]


def _child(
    arguments: list[str], folder: Path, environment: dict[str, str], pipes: list[tuple[int, int]]
) -> None:
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for (_, writer), handle in zip(pipes, (1, 2)):
            os.dup2(writer, handle)
        os.closerange(3, 256)
        os.chdir(folder)
        os.environ.update(environment)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w", buffering=1)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + ROOM,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["vqcli", *arguments]
        from vqcli.cli.app import main

        try:
            main()
            code = 0
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else int(e.code is not None)
            if isinstance(e.code, str):
                sys.stderr.write(e.code)
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 71
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
