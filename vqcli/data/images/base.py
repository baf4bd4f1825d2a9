"""What a source of images is, and the compact lists sources are made of."""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from vqcli.data.decode import decode_image
from vqcli.data.location import Location
from vqcli.types import ANYHOW, Reading, Sample

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib",
    ".gif", ".tif", ".tiff", ".avif", ".avifs", ".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".j2c",
})  # fmt: skip
"""How names of image files end, in small letters, whatever this Pillow can read."""


KINDS = 8
"""Kinds of files left out that are named; the rare ones beyond are counted together."""


@dataclass(frozen=True)
class Told:
    """What a user is told of how images were read."""

    left_out: Mapping[str, int] = field(default_factory=dict)
    """What lies there and is not read, counted by kind: ``.mp4``, ``hidden``, ``link to nothing``."""
    remarks: tuple[str, ...] = ()
    """A sentence for each choice where two readings were possible."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "left_out", dict(self.left_out))  # a Counter is no JSON value to asdict

    def lines(self) -> list[str]:
        """All of it as sentences, what was left out in one: most first, ``KINDS`` of them by name."""
        if not self.left_out:
            return list(self.remarks)
        total = sum(self.left_out.values())
        kinds = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        by_kind = ", ".join(f"{count:,} {_of(kind, count)}" for kind, count in kinds[:KINDS])
        if kinds[KINDS:]:
            by_kind += f", {sum(count for _, count in kinds[KINDS:]):,} of {len(kinds) - KINDS} other kinds"
        what = _of("rows" if all(kind.startswith("rows") for kind in self.left_out) else "files", total)
        return [*self.remarks, f"{total:,} {what} {'was' if total == 1 else 'were'} left out: {by_kind}"]

    def __add__(self, other: Told) -> Told:
        """Both: remarks one after the other, counts of a kind added up."""
        return Told(Counter(self.left_out) + Counter(other.left_out), self.remarks + other.remarks)


def _of(kind: str, count: int) -> str:
    """One of a kind, or several: ``row without a picture``, ``rows without a picture``."""
    return re.sub(r"^(row|file|link|folder)s\b", r"\1", kind) if count == 1 else kind


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
    reading: Reading = ANYHOW
    """How it was asked to read."""
    told: Told = Told()
    """What its user should know: it is said on the screen, and stands in results."""

    @classmethod
    def claims(cls, text: str) -> bool:
        """Whether ``text`` names images of this kind: told by the name and what lies there, unread."""
        return False

    @classmethod
    def open(cls, text: str, reading: Reading) -> Source:
        """The images that a claimed text names, read as ``reading`` asks; of a split alone where it has any.

        Raises VqcliError.
        """
        raise NotImplementedError(cls)

    def sized(self, size: tuple[int, int] | None) -> Source:
        """The same images where (height, width) is only known now; sources that draw theirs draw to it."""
        return self

    def of_split(self, split: str) -> Source | None:
        """Those of all images that are of one of its splits; None where they must be opened anew for that."""
        return None

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

    def extras(self, i: int) -> dict[str, Any]:
        """Those fields of image ``i`` that are to be kept and that it has, as JSON values."""
        return {}

    def unlabelled(self) -> int:
        """Images without a label."""
        return sum(self.label(i) is None for i in range(len(self)))

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
        image = decode_image(self.read(i), key, keep_profile=self.reading.keep_profile)
        return Sample(image, self.label(i), key, self.extras(i))


class Unlabelled(Source):
    """The images of a source without their labels."""

    def __init__(self, source: Source) -> None:
        self.source, self.classes = source, []
        self.splits, self.reading, self.told = source.splits, source.reading, source.told

    def sized(self, size: tuple[int, int] | None) -> Unlabelled:
        return Unlabelled(self.source.sized(size))

    def of_split(self, split: str) -> Unlabelled | None:
        part = self.source.of_split(split)
        return Unlabelled(part) if part else None

    def __len__(self) -> int:
        return len(self.source)

    def key(self, i: int) -> str:
        return self.source.key(i)

    def label(self, i: int) -> None:
        return None

    def extras(self, i: int) -> dict[str, Any]:
        return self.source.extras(i)

    def __getitem__(self, i: int) -> Sample:
        return replace(self.source[i], label=None)


class Labels:
    """Labels as one array; -1 where unknown."""

    def __init__(self, labels: Iterable[int | None], of: np.ndarray | None = None) -> None:
        """With ``of``, image ``i`` has the label number ``of[i]``."""
        values = np.array([-1 if label is None else label for label in labels], np.int32)
        self.values = values if of is None else values[of]

    def __getitem__(self, i: int) -> int | None:
        value = int(self.values[i])
        return None if value < 0 else value

    def unknown(self) -> int:
        """How many are."""
        return int((self.values < 0).sum())


def identity(keys: Iterable[str]) -> dict[str, Any]:
    """Count and SHA-256 of images' keys, in order: two lists of images are the same if this is."""
    digest, count = hashlib.sha256(), 0
    for key in keys:
        digest.update(os.fsencode(key) + b"\0")
        count += 1
    return {"images": count, "keys": digest.hexdigest()}
