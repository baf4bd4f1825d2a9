"""Standard streams as the command line needs them, whoever started it: a supervisor, a terminal, a pipe."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import sys
from typing import Any, TextIO


def settle_streams() -> None:
    """Let nothing that is said break the work: closed streams, odd file names, a terminal that goes away."""
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:  # closed: the next file that is opened would take its number, and what is said
            os.open(os.devnull, os.O_RDWR)
    if fcntl.fcntl(2, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:  # a shell's script, where 2 was closed
        os.dup2(os.open(os.devnull, os.O_RDWR), 2)
    if sys.stderr is None:  # print would turn to stdout
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for good)
    sys.stdout, sys.stderr = _steady(sys.stdout), _steady(sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no file name can break a message


def _steady(stream: TextIO) -> TextIO:
    """A terminal's stream that outlives it; another as it is."""
    if not (isinstance(stream, io.TextIOWrapper) and stream.isatty()):
        return stream
    raw = io.BufferedWriter(_Terminal(stream.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, line_buffering=True)


class _Terminal(io.FileIO):
    """Drops what a terminal that was closed does not take: its work is to be finished, or saved."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as e:
            if e.errno != errno.EIO:
                raise
            return len(data)
