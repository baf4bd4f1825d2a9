"""Parquet shards in the Hub's layout: ``image`` or ``img`` {bytes, path}, ``label``, names in the schema.

Nothing stays open: a row group is read when one of its images is wanted, and the newest ones are kept.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from vqcli.data.images.base import Labels, StoredSource
from vqcli.data.images.shards import ANYHOW, Places, ShardSource, unique_keys
from vqcli.data.location import Location
from vqcli.errors import VqcliError
from vqcli.types import Reading

LABELS = ("label", "labels", "fine_label")
CACHE_BYTES = 256 << 20
"""Row groups that a process keeps: reading in random order is fast where they all fit."""


@dataclass(frozen=True)
class _Shard:
    """What is known of a file without its images."""

    column: str
    """Dotted name of the bytes."""
    rows: list[int]
    """Images in each row group."""
    keys: list[str]
    labels: list[int | None]
    classes: list[str]


class ParquetSource(StoredSource, ShardSource):
    """Parquet shards as the Hub stores image sets; random access by row group."""

    FORM = ".parquet shards"
    SUFFIX = ".parquet"

    def __init__(self, files: Sequence[Location], reading: Reading = ANYHOW) -> None:
        """Raises VqcliError that names the file that is damaged or holds no images."""
        shards = [_inspect(file, reading) for file in files]
        self.reading, self.files, self._columns = reading, list(files), [shard.column for shard in shards]
        self.classes = shards[0].classes
        if any(shard.classes != self.classes for shard in shards):
            hint = "name shards of one data set only"
            raise VqcliError(
                f"{files[0]} and its neighbours differ in their classes", hint=hint, reason="damaged"
            )
        groups = [(shard, group) for shard, known in enumerate(shards) for group in range(len(known.rows))]
        self._groups = np.array(groups, np.int32).reshape(-1, 2)
        self._places = Places([count for shard in shards for count in shard.rows])
        self._keys = unique_keys(self.files, [shard.keys for shard in shards])
        self._labels = Labels(label for shard in shards for label in shard.labels)
        self._cache: OrderedDict[int, Any] = OrderedDict()
        if not len(self._keys):
            raise VqcliError(
                f"{files[0]} holds no images", hint="is it an image data set?", reason="input-empty"
            )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": OrderedDict()}

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, i: int) -> str:
        return self._keys[i]

    def label(self, i: int) -> int | None:
        return self._labels[i]

    def read(self, i: int) -> bytes:
        group, row = self._places[i]
        return self._read_group(group)[row].as_py() or b""

    def _read_group(self, number: int) -> Any:
        """The image bytes of a row group. Raises VqcliError if it is damaged."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        shard, group = map(int, self._groups[number])
        name, _, field = self._columns[shard].partition(".")
        with _opened(self.files[shard]) as file:
            column = file.read_row_group(group, columns=[self._columns[shard]], use_threads=False).column(
                name
            )
            values = column.combine_chunks()
            values = values.field(field) if field else values
        self._cache[number] = values
        while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > CACHE_BYTES:
            self._cache.popitem(last=False)
        return values


@contextmanager
def _opened(place: Location) -> Iterator[Any]:
    """A parquet file for reading. Raises VqcliError where pyarrow is missing or the file is damaged."""
    try:
        import pyarrow
        import pyarrow.parquet
    except Exception as e:
        message = f"{PurePath(str(place)).name} needs pyarrow ({type(e).__name__}: {e})"
        raise VqcliError(message, hint="pip install 'vqcli[parquet]'", reason="missing-extra") from e
    try:
        with place.open() as raw, pyarrow.parquet.ParquetFile(raw) as file:
            yield file
    except FileNotFoundError as e:
        raise VqcliError(f"{place} does not exist", hint="check the path", reason="input-missing") from e
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as e:
        reason = str(e).partition("\n")[0]
        raise VqcliError(f"{place} is damaged: {reason}", hint="download it again", reason="damaged") from e


def _inspect(place: Location, reading: Reading) -> _Shard:
    """Sizes, keys and labels of a file; its images stay unread. Raises VqcliError."""
    with _opened(place) as file:
        schema = file.schema_arrow
        column, names = _columns(schema, place)
        rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        label = next((name for name in LABELS if name in schema.names and reading.labels), None)
        table = file.read(columns=[*names, *([label] if label else [])], use_threads=False)
        labels = table.column(label).to_pylist() if label else [None] * table.num_rows
        keys = table.column(0).combine_chunks().field("path").to_pylist() if names else []
    if not keys or None in keys or len(set(keys)) < len(keys):
        stem, digits = PurePath(str(place)).stem, len(str(sum(rows)))
        keys = [f"{stem}/{row:0{digits}d}" for row in range(sum(rows))]
    if not all(label is None or isinstance(label, int) for label in labels):
        raise VqcliError(
            f"{place} has labels that are no integers", hint="encode them as a ClassLabel", reason="damaged"
        )
    return _Shard(column, rows, keys, labels, _classes(schema, label))


def _columns(schema: Any, place: Location) -> tuple[str, list[str]]:
    """The column of the images' bytes, and that of their paths if there is one. Raises VqcliError."""
    from pyarrow import types

    for name in ("image", "img"):
        if name in schema.names:
            kind = schema.field(name).type
            fields = [field.name for field in kind] if types.is_struct(kind) else []
            if "bytes" in fields:
                return f"{name}.bytes", [f"{name}.path"] if "path" in fields else []
            if types.is_binary(kind) or types.is_large_binary(kind):
                return name, []
    hint = "an image data set has a column 'image' of {bytes, path}, as on the Hub"
    raise VqcliError(
        f"{place} holds no images, but {', '.join(schema.names)}", hint=hint, reason="input-empty"
    )


def _classes(schema: Any, label: str | None) -> list[str]:
    """Class names from the schema's Hugging Face metadata; empty where it tells none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError):
        return []
