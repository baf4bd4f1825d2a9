"""Fields of pictures from what lies beside them in a folder.

``KEY.txt`` beside ``KEY.jpg`` is its caption, ``KEY.json`` has its fields (img2dataset's layout "files");
``metadata.csv`` and ``metadata.jsonl`` have a row a picture, told by ``file_name`` (the Hub's ImageFolder).
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vqcli import bounds, files
from vqcli.data.images.fields import field_of, kept, parsed
from vqcli.data.images.labels import FOLDER, LabelReader, Numbered, numbered
from vqcli.data.images.layout import METADATA
from vqcli.data.images.lists import check_list
from vqcli.data.location import Listing, Location
from vqcli.data.strings import Names
from vqcli.errors import VqcliError
from vqcli.types import Reading

CAPTION, FIELDS = ".txt", ".json"
BESIDE = frozenset({CAPTION, FIELDS})
TABLES = frozenset({".csv", ".jsonl"})
FILE_NAME = "file_name"
LOOKED_AT = 100
"""Pictures whose fields are looked at to tell what there is."""


class Beside:
    """Fields of a folder's pictures."""

    def __init__(
        self, at: Callable[[str], Location], names: Sequence[str], found: Listing, reading: Reading
    ) -> None:
        """``at`` finds files by name; ``found`` are captions, fields and tables.

        Raises VqcliError where a table cannot be read.
        """
        self.at, self.keep = at, reading.keep
        self.sought = BESIDE & found.names.keys()
        rows: dict[str, str] = {}
        for name in tables(found):
            rows |= _rows(at(name), posixpath.dirname(name))
        self._rows = Names(rows.get(name, "") for name in names) if rows else None

    def fields(self, i: int, name: str) -> dict[str, Any]:
        """All that is told of picture ``i``, which is called ``name``; what cannot be read tells nothing."""
        stem, told = posixpath.splitext(name)[0], {}
        if FIELDS in self.sought:
            told = parsed(self._text(stem + FIELDS))
        if CAPTION in self.sought and (caption := self._text(stem + CAPTION).strip()):
            told["caption"] = caption
        return told | (parsed(self._rows[i]) if self._rows else {})

    def kept(self, i: int, name: str) -> dict[str, Any]:
        """Those fields that are to be kept and are there."""
        return kept(self.fields(i, name), self.keep) if self.keep else {}

    def labels(self, column: str, names: Sequence[str], where: str) -> Numbered:
        """What a field tells of every picture. Raises VqcliError where it tells nothing of any."""
        reader = LabelReader()
        written = [reader.take(field_of(self.fields(i, name), column)) for i, name in enumerate(names)]
        if all(label is None for label in written) and not reader.wrong:
            told = {field for i, name in enumerate(names[:LOOKED_AT]) for field in self.fields(i, name)}
            known = ", ".join(sorted({*told, FOLDER}))
            raise VqcliError(
                f"no image of {where} has a field '{column}' beside it",
                hint=f"--label-column takes: {known}",
                reason="input-missing",
            )
        found = numbered(written)
        return found._replace(remark="; ".join(filter(None, (found.remark, *reader.remarks()))))

    def _text(self, name: str) -> str:
        try:
            return self.at(name).read(0, bounds.BESIDE).decode("utf-8-sig", "replace")
        except OSError as e:
            if files.is_absent(e):
                return ""
            raise files.unread(self.at(name), e) from e


def asks_fields(reading: Reading) -> bool:
    """Whether fields of pictures are to be read."""
    column = reading.label_column if reading.labels else None
    return bool(reading.keep or (column and column != FOLDER))


def refuse_unused(reading: Reading, where: str, *, labelled: bool) -> None:
    """Raise VqcliError where image files were asked for what they have not: a column, folders as labels.

    ``labelled`` tells whether any has a label.
    """
    if reading.image_column:
        raise VqcliError(
            f"{where} is image files: they have no column '{reading.image_column}'",
            hint="leave --image-column away, or choose by name, with a quoted glob",
            reason="input-missing",
        )
    if reading.labels and reading.label_column == FOLDER and not labelled:
        raise VqcliError(
            f"no image of {where} lies in a folder that could be its class",
            hint="leave --label-column away",
            reason="input-missing",
        )


def tables(found: Listing) -> list[str]:
    """The tables of fields among files."""
    names = [name for suffix in sorted(TABLES) for name in found.names.get(suffix, ())]
    return [name for name in names if posixpath.splitext(posixpath.basename(name))[0] == METADATA]


def _rows(place: Location, below: str) -> dict[str, str]:
    """Relative name and fields, as JSON, of every row of a table that lies in the folder ``below``."""
    try:
        with place.open() as file:
            data = file.read(bounds.TABLE + 1)
    except OSError as e:
        raise files.unread(place, e) from e
    check_list(data, str(place))
    found = {}
    with files.within(place, len(data), since=files.used() - len(data)):
        text = data.decode("utf-8-sig", "surrogateescape")
        rows: Iterator[dict[str, Any]]
        rows = csv.DictReader(io.StringIO(text)) if place.suffix == ".csv" else map(parsed, text.split("\n"))
        for row in rows:
            name = row.pop(FILE_NAME, None)
            if isinstance(name, str):
                found[posixpath.normpath(posixpath.join(below, name))] = json.dumps(row)
    return found
