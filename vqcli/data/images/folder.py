"""A folder of images, with one sub-folder per class or without."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from vqcli.data.images.base import IMAGE_SUFFIXES, Labels, Names, Source, StoredSource, Told
from vqcli.data.images.beside import BESIDE, TABLES, Beside, asks_fields, refuse_unused, tables
from vqcli.data.images.labels import FOLDER, Numbered, numbered
from vqcli.data.images.layout import Layout, beside_others, layout
from vqcli.data.images.shards import reader_of, shards_in_folders
from vqcli.data.images.splits import check_split, present
from vqcli.data.location import Listing, Location, location
from vqcli.errors import VqcliError
from vqcli.types import ANYHOW, Reading


class FolderSource(StoredSource):
    """Images in a folder and its sub-folders; the first-level sub-folder is the class."""

    FORM = "a folder"

    def __init__(self, folder: Location, found: Listing | None = None, reading: Reading = ANYHOW) -> None:
        """``found`` is what lies in the folder, if it was listed already. Raises VqcliError."""
        found = found or folder.listing(_sought(reading))
        names = _named(found, IMAGE_SUFFIXES)
        places = layout(names, reading.label_column)
        inside = [name for name in names if _folder(name) in places.splits] if places.splits else names
        if not inside:
            raise _empty(folder, found)
        self.folder, self.reading, self.splits = folder, reading, present(places.splits.values())
        self._names, self._chosen = Names(inside), np.arange(len(inside))
        self._beside = Beside(folder.__truediv__, inside, found, reading) if asks_fields(reading) else None
        labels = self._numbered(inside, places) if reading.labels else Numbered([None] * len(inside), [])
        refuse_unused(reading, labels.labels, str(folder))
        self._labels, self.classes = Labels(labels.labels), labels.classes
        if reading.split and self.splits:
            wanted = check_split(reading.split, self.splits, str(folder))
            self._chosen = np.array(
                [i for i, name in enumerate(inside) if places.splits[_folder(name)] == wanted]
            )
        outside = len(names) - len(inside)
        self.told = _not_read(found, self._used(found, names), IMAGE_SUFFIXES) + Told(
            {"outside of the splits": outside} if outside else {},
            (*self._remarks(found, places), *filter(None, [labels.remark])),
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
        return self._names[self._chosen[i]]

    def label(self, i: int) -> int | None:
        return self._labels[self._chosen[i]]

    def unlabelled(self) -> int:
        return int((self._labels.values[self._chosen] < 0).sum())

    def extras(self, i: int) -> dict[str, Any]:
        return self._beside.kept(int(self._chosen[i]), self.key(i)) if self._beside else {}

    def read(self, i: int) -> Location:
        return self.folder / self.key(i)

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

    def _numbered(self, names: Sequence[str], places: Layout) -> Numbered:
        """Labels of all pictures, of whichever split. Raises VqcliError."""
        column = self.reading.label_column
        if self._beside and column and column != FOLDER:
            return self._beside.labels(column, names, str(self.folder))
        classes = sorted(set(places.classes.values()))
        found = numbered(classes)
        number = dict(zip(classes, found.labels))
        labels = {folder: number[name] for folder, name in places.classes.items()}
        return found._replace(labels=[labels.get(_folder(name)) for name in names])


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _some(names: Sequence[str]) -> str:
    """``a is``, ``a and 2 more are``."""
    return f"{names[0]} is" if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more are"


def _sought(reading: Reading) -> frozenset[str]:
    """Endings of what may be used of a folder."""
    return IMAGE_SUFFIXES | shards_in_folders() | TABLES | (BESIDE if asks_fields(reading) else frozenset())


def _named(found: Listing, suffixes: Collection[str]) -> list[str]:
    """The files with these endings, sorted."""
    return sorted(name for suffix in suffixes for name in found.names.get(suffix, ()))


def _not_read(found: Listing, used: Collection[str], whole: Collection[str] = ()) -> Told:
    """All that lies in a folder but for these files, and for those of these endings, counted."""
    others = {
        suffix: sum(name not in used for name in names)
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
