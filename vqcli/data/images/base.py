"""What a source of images is, and the compact lists sources are made of."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from vqcli.data.decode import decode_image
from vqcli.data.location import Location
from vqcli.types import Sample

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


class Source(ABC):
    """Images by index, each with a unique key; cheap to hold, to pickle and to share with workers.

    A registered source also tells which texts of a user are its own (``claims``), and opens them.
    """

    FORM: ClassVar[str] = ""
    """What a user may write to name such images, for help and hints: ``demo[:N]``."""
    classes: list[str]
    """Name of every label; empty where nobody told them."""
    splits: tuple[str, ...] = ()
    """Splits the data is divided into, of which this source holds the one that was asked for, or all."""

    @classmethod
    def claims(cls, text: str) -> bool:
        """Whether ``text`` names images of this kind: told by the name and what lies there, unread."""
        return False

    @classmethod
    def open(cls, text: str, *, split: str | None = None, size: tuple[int, int] | None = None) -> Source:
        """The images that a claimed text names; of ``split`` alone where the data is divided into splits.

        ``size`` (height, width) is what will be asked of the images, for sources that draw them.
        Raises VqcliError.
        """
        raise NotImplementedError(cls)

    @property
    def has_splits(self) -> bool:
        """Whether the data is divided into ``train``, ``validation``, ``test``."""
        return bool(self.splits)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def key(self, i: int) -> str:
        """Unique name of image ``i``; decodes nothing."""

    @abstractmethod
    def label(self, i: int) -> int | None:
        """Class of image ``i``, if known; decodes nothing."""

    @abstractmethod
    def __getitem__(self, i: int) -> Sample:
        """Image ``i``, RGB. Raises BadImage."""


class StoredSource(Source):
    """A source whose images are files, or lie in files."""

    @abstractmethod
    def read(self, i: int) -> bytes | Location:
        """The bytes of image ``i``, undecoded, or its file. Raises BadImage if it cannot be had."""

    def __getitem__(self, i: int) -> Sample:
        key = self.key(i)
        return Sample(decode_image(self.read(i), key), self.label(i), key)


class Names:
    """A list of strings in two arrays: no object an item, so that forked workers copy no memory."""

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self.ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        self.text = b"".join(encoded)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> str:
        start = self.ends[i - 1] if i else 0
        return self.text[start : self.ends[i]].decode("utf-8", "surrogateescape")


class Labels:
    """Labels as one array; -1 where unknown."""

    def __init__(self, labels: Iterable[int | None]) -> None:
        self.values = np.array([-1 if label is None else label for label in labels], np.int32)

    def __getitem__(self, i: int) -> int | None:
        value = int(self.values[i])
        return None if value < 0 else value


def identity(keys: Iterable[str]) -> dict[str, Any]:
    """Count and SHA-256 of images' keys, in order: two lists of images are the same if this is."""
    digest, count = hashlib.sha256(), 0
    for key in keys:
        digest.update(os.fsencode(key) + b"\0")
        count += 1
    return {"images": count, "keys": digest.hexdigest()}
