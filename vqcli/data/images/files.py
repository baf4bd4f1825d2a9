"""Images named one by one: a list file, standard input, a glob, a single file."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from vqcli import bounds
from vqcli import files as disk
from vqcli.data.globs import matches
from vqcli.data.images.base import IMAGE_SUFFIXES, Labels, Source, StoredSource, Told
from vqcli.data.images.beside import BESIDE, Beside, asks_fields, refuse_unused
from vqcli.data.images.forms import instead
from vqcli.data.images.labels import FOLDER, Numbered, numbered
from vqcli.data.images.layout import beside_others
from vqcli.data.images.lists import Listed, listed, text_of
from vqcli.data.images.shards import reader_of, shard_sources
from vqcli.data.location import Listing, Location, kind_of, location, suffix_of
from vqcli.data.strings import Names
from vqcli.errors import VqcliError
from vqcli.types import ANYHOW, Reading

LIST_SUFFIXES = frozenset({".txt", ".lst", ".list", ".csv", ".tsv"})
BOTH = Listing({suffix: [] for suffix in BESIDE}, {})
"""Captions and fields may lie beside any image that is named."""
_WILDCARD = re.compile(r"[*?[]")


class ListSource(StoredSource):
    """Images from a list of paths."""

    FORM = "an image, a quoted glob, a .txt list, - for names on stdin"

    def __init__(
        self,
        listed: Listed,
        folder: Location | None = None,
        reading: Reading = ANYHOW,
        where: str = "the list",
    ) -> None:
        """Relative names are looked up in ``folder``, then where the command runs. Raises VqcliError."""
        names = listed.names
        if not names:
            raise VqcliError(f"{where} names no images", hint="one path a line", reason="input-empty")
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise VqcliError(
                f"{where} names {twice} twice", hint="list every image once", reason="input-duplicate"
            )
        self._names, self.folder, self.reading = Names(names), folder, reading
        self._beside = Beside(self._at, names, BOTH, reading) if asks_fields(reading) else None
        labels = self._numbered(listed, where) if reading.labels else Numbered([None] * len(names), [])
        self._labels, self.classes = Labels(labels.labels), labels.classes
        refuse_unused(reading, where, labelled=self._labels.unknown() < len(names))
        self.told = Told({}, (*listed.remarks, labels.remark) if labels.remark else listed.remarks)

    @classmethod
    def claims(cls, text: str) -> bool:
        if text == "-":
            return True
        place = location(text)
        if place.suffix in IMAGE_SUFFIXES | LIST_SUFFIXES and place.holds_file():
            return True
        return glob.has_magic(text) and not place.exists()

    @classmethod
    def open(cls, text: str, reading: Reading) -> Source:
        if text == "-":
            where = "standard input"
            return cls(_listed(_stdin(), None, where), None, reading, where)
        names = [text]
        if not location(text).exists():
            names = matches(text)
        files = [name for name in names if not location(name).is_folder()]
        if len(files) == 1 and suffix_of(files[0]) in LIST_SUFFIXES:
            return cls.of_list(location(files[0]), location(os.path.dirname(files[0])), reading)  # noqa: PTH120
        if names and not files:
            hint = f"name one of them, or '{text}/*'"
            raise VqcliError(f"{text} matches folders only", hint=hint, reason="input-empty")
        source, read = cls._of_files(files, reading, text)
        left_out = Counter(map(kind_of, set(files) - set(read)))
        if "**" not in text:
            left_out["folder"] = len(names) - len(files)
        source.told += Told(+left_out)
        return source

    @classmethod
    def of_list(cls, place: Location, folder: Location, reading: Reading = ANYHOW) -> ListSource:
        """The images of a list, whose relative names are looked up in ``folder`` first. Raises VqcliError."""
        try:
            with place.open() as file:
                data = file.read(bounds.TABLE + 1)
        except OSError as e:
            raise disk.unread(place, e) from e
        where = str(place)
        return cls(_listed(data, folder, where), folder, reading, where)

    @classmethod
    def _of_files(cls, files: Sequence[str], reading: Reading, text: str) -> tuple[Source, Sequence[str]]:
        """The images of the files that a glob matches, and those of the files that are read."""
        pictures = [name for name in files if suffix_of(name) in IMAGE_SUFFIXES]
        suffixes = {kind.SUFFIX for kind in shard_sources()}
        shards = [name for name in files if suffix_of(name) in suffixes]
        read = sorted({*shards, *pictures} - set(beside_others(shards, pictures)))
        if not read:
            raise VqcliError(f"{text} holds no images", hint=instead(text), reason="input-empty")
        reader = reader_of(read)
        if reader is None:
            return cls(Listed(pictures, [None] * len(pictures)), None, reading, text), pictures
        return reader.of_files([location(name) for name in read], read, reading, text, _above(text)), read

    def __len__(self) -> int:
        return len(self._names)

    def key(self, i: int) -> str:
        return self._names[i]

    def label(self, i: int) -> int | None:
        return self._labels[i]

    def unlabelled(self) -> int:
        return self._labels.unknown()

    def extras(self, i: int) -> dict[str, Any]:
        return self._beside.kept(i, self.key(i)) if self._beside else {}

    def read(self, i: int) -> Location:
        return self._at(self._names[i])

    def _at(self, name: str) -> Location:
        return _at(name, self.folder)

    def _numbered(self, listed: Listed, where: str) -> Numbered:
        """What tells the images' labels, as numbers. Raises VqcliError."""
        column = self.reading.label_column
        if column == FOLDER:
            return numbered([name.rpartition("/")[0].rpartition("/")[2] for name in listed.names])
        if self._beside and column:
            return self._beside.labels(column, listed.names, where)
        return numbered(listed.labels)


def _above(text: str) -> str:
    """The folders of a glob before its first wildcard."""
    wildcard = _WILDCARD.search(text)
    return text[: text.rfind("/", 0, wildcard.start()) + 1] if wildcard else ""


def _listed(data: bytes, folder: Location | None, where: str) -> Listed:
    with disk.within(where, len(data), since=disk.used() - len(data)):
        return listed(text_of(data, where), lambda name: _at(name, folder).exists(), where)


def _at(name: str, folder: Location | None) -> Location:
    """Where a name of a list points."""
    if folder and (beside := folder / name).exists():
        return beside
    return location(name)


def _stdin() -> bytes:
    """What comes on standard input. Raises VqcliError if it is closed."""
    if sys.stdin is None:
        raise VqcliError(
            "- reads names from standard input, which is closed",
            hint="pipe them in, or name a .txt list of them",
            reason="input-missing",
        )
    return sys.stdin.buffer.read(bounds.TABLE + 1)
