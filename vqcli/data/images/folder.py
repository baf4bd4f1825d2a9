"""A folder of images, with one sub-folder per class or without."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import replace
from heapq import merge
from itertools import compress
from typing import Any

import numpy as np

from vqcli.data.images.base import IMAGE_SUFFIXES, Labels, Source, StoredSource, Told
from vqcli.data.images.beside import BESIDE, TABLES, Beside, asks_fields, refuse_unused, tables
from vqcli.data.images.labels import FOLDER, numbered
from vqcli.data.images.layout import Layout, beside_others, layout
from vqcli.data.images.shards import reader_of, shards_in_folders
from vqcli.data.images.splits import SPLITS, check_split, present
from vqcli.data.location import Listing, Location, location
from vqcli.data.strings import Names
from vqcli.errors import VqcliError
from vqcli.types import ANYHOW, Reading


class FolderSource(StoredSource):
    """Images in a folder and its sub-folders; the first-level sub-folder is the class."""

    FORM = "a folder"

    def __init__(self, folder: Location, found: Listing | None = None, reading: Reading = ANYHOW) -> None:
        """``found`` is what lies in the folder, if it was listed already. Raises VqcliError."""
        found = found or folder.listing(_sought(reading))
        names = _named(found, IMAGE_SUFFIXES)
        heads, of = _folders(names)
        places = layout(names, reading.label_column, heads)
        known = np.array([not places.splits or head in places.splits for head in heads], bool)[of]
        outside = len(names) - int(known.sum())
        if outside == len(names):
            raise _empty(folder, found)
        inside, of = (Names(compress(names, known)), of[known]) if outside else (names, of)
        self.folder, self.reading, self.splits = folder, reading, present(places.splits.values())
        self._names, self._chosen = inside, np.arange(len(inside))
        self._splits = np.array([SPLITS.index(places.splits.get(head, SPLITS[0])) for head in heads])[of]
        self._beside = Beside(folder.__truediv__, inside, found, reading) if asks_fields(reading) else None
        self._labels, self.classes, remark = self._numbered(heads, of, places)
        refuse_unused(reading, str(folder), labelled=self._labels.unknown() < len(inside))
        if reading.split and self.splits:
            self._choose(check_split(reading.split, self.splits, str(folder)))
        self.told = _not_read(found, self._used(found, names), IMAGE_SUFFIXES) + Told(
            {"outside of the splits": outside} if outside else {},
            (*self._remarks(found, places), *filter(None, [remark])),
        )

    @classmethod
    def claims(cls, text: str) -> bool:
        return location(text).is_folder()

    @classmethod
    def open(cls, text: str, reading: Reading) -> Source:
        """The shards in a folder if there are any, else its images."""
        folder = location(text)
        found = folder.listing(_sought(reading))
        shards, pictures = _named(found, shards_in_folders()), _named(found, IMAGE_SUFFIXES)
        beside = beside_others(shards, pictures)
        shards = [name for name in shards if name not in set(beside)] if beside else shards
        reader = reader_of(shards)
        remarks = []
        if beside:
            remarks.append(f"{_some(beside)} not read: what lies beside has the pictures")
        if reader is None:
            source: Source = cls(folder, found, reading)
            source.told += Told({}, tuple(remarks))
            return source
        source = reader.of_files([folder / name for name in shards], shards, reading, str(folder))
        if pictures:
            remarks.append(f"the {reader.SUFFIX} files are read, the pictures beside them are not")
        source.told += _not_read(found, set(shards)) + Told({}, tuple(remarks))
        return source

    def __len__(self) -> int:
        return len(self._chosen)

    def key(self, i: int) -> str:
        return self._names[self._chosen.item(i)]

    def label(self, i: int) -> int | None:
        return self._labels[self._chosen[i]]

    def unlabelled(self) -> int:
        return int((self._labels.values[self._chosen] < 0).sum())

    def extras(self, i: int) -> dict[str, Any]:
        return self._beside.kept(int(self._chosen[i]), self.key(i)) if self._beside else {}

    def read(self, i: int) -> Location:
        return self.folder / self.key(i)

    def of_split(self, split: str) -> FolderSource | None:
        part = copy(self)
        part.reading = replace(self.reading, split=split)
        part._choose(split)
        return part

    def _choose(self, split: str) -> None:
        self._chosen = np.flatnonzero(self._splits == SPLITS.index(split))

    def _used(self, found: Listing, names: Sequence[str]) -> set[str]:
        """What is beside the pictures and read."""
        if not self._beside:
            return set()
        stems = {posixpath.splitext(name)[0] for name in names}
        fields = (name for name in _named(found, BESIDE) if posixpath.splitext(name)[0] in stems)
        return {*fields, *tables(found)}

    def _remarks(self, found: Listing, places: Layout) -> tuple[str, ...]:
        """What is said of how folders and tables are taken for labels."""
        if self.reading.label_column or not self.reading.labels:
            return ()
        if self._beside or not (unread := tables(found)):
            return places.remarks
        return *places.remarks, f"{_some(unread)} not read: --label-column takes a column of it for labels"

    def _numbered(
        self, heads: Sequence[str], of: np.ndarray, places: Layout
    ) -> tuple[Labels, list[str], str]:
        """Labels of all pictures, of whichever split, classes and a remark. Raises VqcliError."""
        reading = self.reading
        if not reading.labels:
            return Labels([None], np.zeros_like(of)), [], ""
        if self._beside and reading.label_column not in (None, FOLDER):
            found = self._beside.labels(reading.label_column, self._names, str(self.folder))
            return Labels(found.labels), found.classes, found.remark
        classes = sorted(set(places.classes.values()))
        found = numbered(classes)
        number = dict(zip(classes, found.labels))
        return (
            Labels([number.get(places.classes.get(head, "")) for head in heads], of),
            found.classes,
            found.remark,
        )


def _folders(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The folders of names, and which of them each lies in."""
    number: dict[str, int] = {}
    of = (number.setdefault(name.rpartition("/")[0], len(number)) for name in names)
    numbers = np.fromiter(of, np.int32, len(names))
    return list(number), numbers


def _some(names: Sequence[str]) -> str:
    """``a is``, ``a and 2 more are``."""
    return f"{names[0]} is" if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more are"


def _sought(reading: Reading) -> frozenset[str]:
    """Endings of what may be used of a folder."""
    return IMAGE_SUFFIXES | shards_in_folders() | TABLES | (BESIDE if asks_fields(reading) else frozenset())


def _named(found: Listing, suffixes: Collection[str]) -> Sequence[str]:
    """The files with these endings, sorted."""
    known = [names for suffix, names in found.names.items() if suffix in suffixes]
    return known[0] if len(known) == 1 else Names(merge(*known))


def _not_read(found: Listing, used: Collection[str], whole: Collection[str] = ()) -> Told:
    """All that lies in a folder but for these files, and for those of these endings, counted."""
    others = {
        suffix: sum(name not in used for name in names) if used else len(names)
        for suffix, names in found.names.items()
        if suffix not in whole
    }
    return Told(Counter(found.left_out) + Counter(others))


def _empty(folder: Location, found: Listing) -> VqcliError:
    there = _not_read(found, ()).lines()
    if {".heic", ".heif"} & found.left_out.keys():
        there.append("heif-dec IN OUT.png converts phones' pictures")
    known = f"known: {' '.join(sorted(IMAGE_SUFFIXES))}"
    return VqcliError(f"{folder} holds no images", hint="; ".join([*there, known]), reason="input-empty")
