"""PNGs: written whole, and whether one still is: every piece of the format carries its checksum."""

from __future__ import annotations

import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vqcli.files.reading import open_regular
from vqcli.files.refused import unread, unwritten
from vqcli.files.writing import sync_folder, writing

if TYPE_CHECKING:
    from PIL.Image import Image

PNG, LAST = b"\x89PNG\r\n\x1a\n", b"IEND"
FAST = 1
"""Of zlib's levels: a third of the time of the usual one, for files that are a few hundredths larger."""


def write_image(path: Path, image: Image, *, flush_name: bool = True) -> None:
    """Write a PNG; without ``flush_name`` its folder is still to be flushed. Raises VqcliError."""
    with writing(path, flush_name=flush_name) as file:
        image.save(file, format="PNG", compress_level=FAST)


class ImageWriter:
    """Writes PNGs beside other work, which need not wait until they are packed and on the disk.

    When its block ends, all are there that the disk took.
    """

    THREADS, WAITING = 4, 64
    """Images that are written at once, and most that wait: they take memory."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.THREADS)
        self._begun: deque[Future[None]] = deque()
        self._folders: set[Path] = set()

    def write(self, path: Path, image: Image) -> None:
        """Write a PNG soon. Raises VqcliError if the disk refused an earlier one."""
        while self._begun and (self._begun[0].done() or len(self._begun) >= self.WAITING):
            self._begun.popleft().result()
        self._folders.add(path.parent)
        self._begun.append(self._threads.submit(write_image, path, image, flush_name=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        self._threads.shutdown()
        if kind is not None:
            return
        for future in self._begun:
            future.result()
        for folder in self._folders:
            try:
                sync_folder(folder)
            except OSError as e:
                raise unwritten(folder, e) from e


def whole_image(path: Path) -> bool:
    """Whether a file is a PNG whose checksums hold. Raises VqcliError if it cannot be read."""
    with open_regular(path) as file:
        try:
            data = memoryview(file.read())
        except OSError as e:
            raise unread(path, e) from e
    if data[:8] != PNG:
        return False
    at, name = 8, b""
    while name != LAST:
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        name, told = bytes(data[at + 4 : at + 8]), data[end : end + 4]
        if len(told) < 4 or zlib.crc32(data[at + 4 : end]) != int.from_bytes(told, "big"):
            return False
        at = end + 4
    return at == len(data)
