"""A file whose reads are made again where the machine refuses them."""

from __future__ import annotations

import errno
import io
import os
from typing import Any

from vqcli.files.refused import patiently

BUFFER = io.DEFAULT_BUFFER_SIZE


class _Patient(io.FileIO):
    """All that is read through a buffer comes through ``readinto`` or ``read``."""

    def readinto(self, buffer: Any) -> int:
        return patiently(lambda: _readinto(self, buffer))

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return self.readall()
        data = bytearray(size)
        return bytes(memoryview(data)[: self.readinto(data)])

    def readall(self) -> bytes:
        return io.RawIOBase.readall(self)


def _readinto(file: io.FileIO, buffer: Any) -> int:
    count = io.FileIO.readinto(file, buffer)
    if count is None:  # some of /proc wait for what may never come, and hashing would not end
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return count


def buffered(handle: int, path: str | os.PathLike[str]) -> io.BufferedReader:
    """The file of a handle, for reading; it is called as its path."""
    return io.BufferedReader(_Patient(os.fspath(path), opener=lambda name, flags: handle), BUFFER)
