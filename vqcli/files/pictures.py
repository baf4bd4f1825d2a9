"""PNGs: written whole, and whether one still is: every piece of the format carries its checksum."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from vqcli.files.reading import open_regular
from vqcli.files.refused import unread
from vqcli.files.writing import writing

if TYPE_CHECKING:
    from PIL.Image import Image

PNG, LAST = b"\x89PNG\r\n\x1a\n", b"IEND"


def write_image(path: Path, image: Image) -> None:
    """Write a PNG."""
    with writing(path) as file:
        image.save(file, format="PNG")


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
