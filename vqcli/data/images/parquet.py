"""Parquet shards: the Hub's layout (``image`` {bytes, path}, ``label``), img2dataset's, and their kin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from pathlib import PurePath, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from vqcli import bounds
from vqcli.data.images.archive import plain_name
from vqcli.data.images.base import Labels, StoredSource, Told
from vqcli.data.images.columns import (
    LabelColumn,
    Pictures,
    check_columns,
    class_names,
    find_key,
    find_label,
    find_pictures,
    has_field,
    has_text,
)
from vqcli.data.images.fields import field_of
from vqcli.data.images.groups import Group, Groups, bounded, opened
from vqcli.data.images.labels import FOLDER, LabelReader, ShardLabels, Written, merged
from vqcli.data.images.shards import Places, ShardSource, folder_of, offered, shard_names
from vqcli.data.location import Location, location
from vqcli.data.strings import Names
from vqcli.errors import BadImage, VqcliError
from vqcli.types import ANYHOW, Reading

STATUS, FAILED = "status", "failed"
"""img2dataset's column, and how what it says of rows without a picture begins."""
WITHOUT = "rows without a picture"


class _Shard(NamedTuple):
    """What is known of a file without its images."""

    pictures: Pictures
    groups: list[Group]
    rows: list[int]
    """Those with a picture."""
    keys: list[str]
    labels: ShardLabels
    remarks: list[str]


class ParquetSource(StoredSource, ShardSource):
    """Parquet shards as the Hub stores image sets; random access by row group."""

    FORM = ".parquet shards"
    SUFFIX = ".parquet"

    def __init__(
        self, files: Sequence[Location], reading: Reading = ANYHOW, names: Sequence[str] = ()
    ) -> None:
        """Raises VqcliError that names the file that is damaged or holds no images."""
        self.files, self.reading, reader = list(files), reading, LabelReader()
        names = names or shard_names([PurePath(str(file)).name for file in files])
        shards = [_inspect(file, reading, reader) for file in files]
        self._groups = Groups([group for shard in shards for group in shard.groups])
        fields = [group._replace(columns=reading.keep, size=0) for group in self._groups.groups]
        self._kept = Groups(fields)  # small, whatever the pictures are: read whole
        self._places = Places([group.rows for group in self._groups.groups])
        starts = np.cumsum([0, *(sum(group.rows for group in shard.groups) for shard in shards)])
        rows = [start + np.array(shard.rows, np.int64) for start, shard in zip(starts, shards)]
        self._rows = np.concatenate(rows)
        if not len(self._rows):
            message = f"{files[0]} holds no images, but {len(self._places):,} {WITHOUT}"
            raise VqcliError(message, hint="--image-column chooses another column", reason="input-empty")
        self._columns = [shard.pictures.name for shard in shards for _ in shard.groups]
        self._keys = Names(f"{name}/{key}" for name, shard in zip(names, shards) for key in shard.keys)
        labels, self.classes, remark = merged([shard.labels for shard in shards])
        self._labels = Labels(labels)
        left_out = len(self._places) - len(self._rows)
        remarks = [remark for shard in shards for remark in shard.remarks] + reader.remarks()
        remarks += [remark] if remark else []
        if reading.labels and self.unlabelled() == len(self):
            remarks += offered(key for shard in shards for key in shard.keys)
        self.told = Told({WITHOUT: left_out} if left_out else {}, tuple(dict.fromkeys(remarks)))

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, i: int) -> str:
        return self._keys[i]

    def label(self, i: int) -> int | None:
        return self._labels[i]

    def unlabelled(self) -> int:
        return self._labels.unknown()

    def extras(self, i: int) -> dict[str, Any]:
        if not self.reading.keep:
            return {}
        group, row = self._places[int(self._rows[i])]
        found = {name: _json(self._kept.value(group, row, name)) for name in self.reading.keep}
        return {name: value for name, value in found.items() if value is not None}

    def read(self, i: int) -> bytes | Location:
        group, row = self._places[int(self._rows[i])]
        value = self._groups.value(group, row, self._columns[group])
        if isinstance(value, dict):
            value = value["bytes"] if value["bytes"] is not None else value.get("path")
        if isinstance(value, str):
            return self._beside(group, value, self.key(i))
        return value or b""

    def _beside(self, group: int, name: str, key: str) -> Location:
        """A file that a row names: below the Parquet's folder. Raises BadImage for one elsewhere."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise BadImage(key, "missing", f"{name} is not below the folder of its Parquet file")
        return location(os.path.dirname(str(self._groups.groups[group].place))) / name  # noqa: PTH120


def _inspect(place: Location, reading: Reading, reader: LabelReader) -> _Shard:
    """Sizes, keys and labels of a file; its images stay unread. Raises VqcliError."""
    with bounded(place), opened(place) as file:
        if file.metadata.num_rows > bounds.ROWS + place.size():
            raise ValueError(f"it tells of {file.metadata.num_rows:,} rows")
        schema = file.schema_arrow
        pictures = find_pictures(file, place, reading.image_column)
        by_folder = reading.label_column == FOLDER and not has_field(schema, FOLDER)
        looked_for = reading.labels and not by_folder
        label = find_label(schema, place, reading.label_column) if looked_for else LabelColumn("")
        check_columns(schema, place, reading.keep)
        name, key, status = label.name, find_key(schema), STATUS if STATUS in schema.names else ""
        path = pictures.name if pictures.form == "path" else f"{pictures.name}.path"
        path = path if has_text(schema, path) else ""
        read = {each: _values(file, each) for each in {name, key, status, path} if each}
        groups = _groups(file, place, pictures, path)
        paths = read.get(path)
        count = sum(group.rows for group in groups)
        if any(len(values) != count for values in read.values()):
            raise ValueError("its columns differ in their rows")
        rows = _with_picture(count, paths if pictures.form == "path" else None, read.get(status))
    if by_folder:
        written: list[Written] = [folder_of(paths[row] or "") if paths else None for row in rows]
    else:
        written = [reader.take(read[name][row]) if name else None for row in rows]
    keys = _keys(rows, read.get(key), paths)
    listed = ShardLabels(written, class_names(schema, name) if name else [])
    remarks = [remark for remark in (pictures.remark, label.remark) if remark]
    if any(group.large for group in groups):
        largest = max(group.size for group in groups) / 2**20
        remarks.append(
            f"row groups of up to {largest:,.0f} MiB are quick to read in order, slow in any other;"
            " for training write smaller ones: pyarrow.parquet.write_table(table, path, row_group_size=256)"
        )
    return _Shard(pictures, groups, rows, keys, listed, remarks)


def _values(file: Any, name: str) -> list[Any]:
    """All values of a column, or of a field ``a.b`` inside of one."""
    column = file.read(columns=[name], use_threads=False)
    top = column.column_names[0]
    values = column.column(top).to_pylist()
    return values if top == name else [field_of({top: value}, name) for value in values]


def _groups(file: Any, place: Location, pictures: Pictures, path: str) -> list[Group]:
    """The row groups of a file, and how large they are.

    What it tells of single columns stays unread: where that is damaged, Arrow ends the process.
    """
    columns = (pictures.leaf, path) if path and path != pictures.leaf else (pictures.leaf,)
    told = (file.metadata.row_group(number) for number in range(file.num_row_groups))
    return [
        Group(place, number, group.num_rows, group.total_byte_size, columns)
        for number, group in enumerate(told)
    ]


def _with_picture(rows: int, paths: list[Any] | None, status: list[Any] | None) -> list[int]:
    """The rows of a file that may hold a picture; ``paths`` where they are all there is."""
    found: Sequence[int] = range(rows)
    if paths is not None:
        found = [row for row in found if paths[row]]
    if status is not None:
        found = [row for row in found if not str(status[row]).startswith(FAILED)]
    return list(found)


def _keys(rows: Sequence[int], names: list[Any] | None, paths: list[Any] | None) -> list[str]:
    """Keys of a shard's images: their names if each has its own, else the numbers of their rows."""
    for column in (names, paths):
        if column:
            keys = [plain_name(str(column[row])) if column[row] is not None else "" for row in rows]
            if len(set(keys)) == len(keys) and "" not in keys:
                return keys
    return [f"{row:08d}" for row in rows]


def _json(value: Any) -> Any:
    """A value of a column as JSON has it; None for bytes."""
    match value:
        case bytes():
            return None
        case date() | time():
            return value.isoformat()
        case Decimal():
            return float(value)
        case list():
            return [_json(each) for each in value]
        case dict():
            return {name: _json(each) for name, each in value.items()}
        case _:
            return value
