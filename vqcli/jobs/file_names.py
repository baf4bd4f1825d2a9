"""Names of image files for keys, which are data: harmless, and each of its own."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from itertools import count
from pathlib import PurePosixPath
from urllib.parse import quote

from vqcli.data.images.base import IMAGE_SUFFIXES

LONGEST_NAME, LONGEST_PATH = 200, 1000
"""Bytes of a file name and of a relative path; file systems take 255 and 4096, temporary names are longer."""
RESERVED = frozenset('\\%:*?"<>|')
"""Characters that mean something to a file system somewhere, or to the escapes for them."""


class FileNames:
    """Gives every key a relative path of its own, whatever case counts."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def __call__(self, key: str) -> str:
        """The path of one more key."""
        name = next(name for name in file_names(key) if same_name(name) not in self.taken)
        self.taken.add(same_name(name))
        return name


def file_names(key: str) -> Iterator[str]:
    """Relative paths for a key, best first: ``a.png``, ``a.jpg.png``, ``a.jpg.2.png`` ...

    A key is data: the paths never leave their folder, and every part of them is a harmless name.
    """
    parts = [_harmless(part) for part in key.split("/") if part not in ("", ".")] or ["image"]
    # no folder can take the name of an image
    folders = [part[:-4] + "%2Epng" if part.lower().endswith(".png") else part for part in parts[:-1]]
    path = "/".join([*folders, parts[-1]])
    path = path if len(path) <= LONGEST_PATH else _digest(key)
    if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES:
        yield str(PurePosixPath(path).with_suffix(".png"))
    yield f"{path}.png"
    yield from (f"{path}.{n}.png" for n in count(2))


def _harmless(part: str) -> str:
    name = "".join(c if c.isprintable() and c not in RESERVED else _escape(c) for c in part)
    if name.startswith("."):
        name = "%2E" + name[1:]
    return name if len(name.encode()) <= LONGEST_NAME else _digest(part)


def same_name(name: str) -> str:
    """What file systems that ignore case or spelling of accents compare."""
    return unicodedata.normalize("NFC", name).casefold()


def _escape(character: str) -> str:
    return quote(character, safe="", errors="surrogateescape")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
