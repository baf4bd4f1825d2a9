"""How row groups of Parquet files are read: whole and kept, or in windows where they are large.

Nothing stays open but a large row group that is being read in order: Parquet has no way into its midst.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import Any, NamedTuple

from vqcli import files
from vqcli.data.images.fields import field_of
from vqcli.data.images.misnamed import BEGINNING, check_kind
from vqcli.data.location import Disk, Location, NotAFile
from vqcli.errors import VqcliError

CACHE_BYTES = 256 << 20
"""Row groups and windows that a process keeps: reading in random order is fast where they all fit."""
WHOLE_BYTES, WINDOW_BYTES = 128 << 20, 32 << 20
"""A row group of more bytes than the first is read in windows of about the second."""
PARQUET = b"PAR1"
BUFFER_BYTES = 1 << 20
"""Of a file that is read at a time where a row group is not read at once."""


class Group(NamedTuple):
    """A row group."""

    place: Location
    number: int
    rows: int
    size: int
    """Bytes of all its columns, unpacked."""
    columns: tuple[str, ...]
    """What is read of it."""

    @property
    def large(self) -> bool:
        """Whether it is read in windows."""
        return self.size > WHOLE_BYTES

    @property
    def step(self) -> int:
        """Rows that are read at a time."""
        return max(1, self.rows * WINDOW_BYTES // self.size) if self.large else max(1, self.rows)


class Groups:
    """Rows of row groups, in any order; cheap to pickle."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = list(groups)
        self._cache: OrderedDict[tuple[int, int], dict[str, Any]] = OrderedDict()
        self._cursor: _Cursor | None = None
        self._in_order = True

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": OrderedDict(), "_cursor": None}

    @property
    def held(self) -> int:
        """Bytes that are kept."""
        return sum(column.nbytes for columns in self._cache.values() for column in columns.values())

    def value(self, group: int, row: int, name: str) -> Any:
        """What a row holds in a column, or a field ``a.b`` inside of one. Raises VqcliError if damaged."""
        window, at = divmod(row, self.groups[group].step)
        columns = self._cache.get((group, window))
        if columns is None:
            table = self._read(group, window)
            columns = dict(zip(table.column_names, table.columns))
            self._cache[group, window] = columns
            most = 2 * WINDOW_BYTES if self.groups[group].large and self._in_order else CACHE_BYTES
            while len(self._cache) > 1 and self.held > most:
                self._cache.popitem(last=False)
        self._cache.move_to_end((group, window))
        top = name if name in columns else name.partition(".")[0]
        value = columns[top][at].as_py()
        return value if top == name else field_of({top: value}, name)

    def _read(self, number: int, window: int) -> Any:
        group = self.groups[number]
        if not group.large:
            with bounded(group.place), opened(group.place) as file:
                table = file.read_row_group(group.number, columns=[*group.columns], use_threads=False)
                if table.num_rows != group.rows:
                    raise ValueError(f"a row group has {table.num_rows} rows, not {group.rows}")
                return table
        if self._cursor is None or not self._cursor.leads_to(number, window):
            self._in_order = self._in_order and window == 0
            self._cursor = _Cursor(number, group)
        return self._cursor.read(window)


class _Cursor:
    """Reads the windows of a large row group in order."""

    def __init__(self, number: int, group: Group) -> None:
        self.number, self.group, self.next = number, group, 0
        self.process, self._since = os.getpid(), files.used()
        self._open = ExitStack()
        self._file = self._open.enter_context(opened(group.place, BUFFER_BYTES))
        self._batches = self._file.iter_batches(
            group.step, row_groups=[group.number], columns=[*group.columns], use_threads=False
        )

    def leads_to(self, number: int, window: int) -> bool:
        """Whether it comes to this window; a fork of a process shares the place in the file, and must not."""
        return (self.process, self.number) == (os.getpid(), number) and self.next <= window

    def read(self, window: int) -> Any:
        """A window that lies ahead, as a table."""
        import pyarrow

        with bounded(self.group.place, self._since), translated(self.group.place):
            while True:
                wanted = min(self.group.step, self.group.rows - self.next * self.group.step)
                batches: list[Any] = []
                while sum(batch.num_rows for batch in batches) < wanted:
                    batches.append(next(self._batches))  # where 2 GiB are passed, a window comes in parts
                self.next += 1
                if self.next > window:
                    return pyarrow.Table.from_batches(batches)


@contextmanager
def opened(place: Location, buffer: int = 0) -> Iterator[Any]:
    """A parquet file for reading, by so many bytes at a time; 0 for a column of a row group at once.

    Raises VqcliError where pyarrow is missing or the file is damaged.
    """
    pyarrow = needed(place)
    with translated(place), place.open() as raw:
        beginning = raw.read(BEGINNING)
        if not beginning.startswith(PARQUET):
            check_kind(place, beginning, "a Parquet file")
            if len(beginning) == BEGINNING:
                hint = "write it as Parquet, or download it again"
                raise VqcliError(f"{place} is no Parquet file", hint=hint, reason="format")
    with (
        translated(place),
        place.open() as raw,
        pyarrow.parquet.ParquetFile(
            # on a disk Arrow reads the parts itself: through Python each would be copied
            pyarrow.OSFile(str(place)) if buffer and isinstance(place, Disk) else raw,
            buffer_size=buffer,
            pre_buffer=not buffer,
        ) as file,
    ):
        yield file


@contextmanager
def bounded(place: Location, since: int | None = None) -> Iterator[None]:
    """Memory for reading a file: what its pages unpack to is known too late, only its size can be believed.

    Raises VqcliError where that does not do.
    """
    hint = "write it with smaller row groups: pyarrow.parquet.write_table(table, path, row_group_size=256)"
    with translated(place):
        try:
            size = place.size()
        except NotAFile:  # which opening it tells
            size = 0
    with files.within(place, size, hint, since):
        yield


def needed(place: Location) -> Any:
    """The package that reads Parquet. Raises VqcliError where it is missing."""
    try:
        import pyarrow.parquet
    except Exception as e:
        message = f"{PurePath(str(place)).name} needs pyarrow ({type(e).__name__}: {e})"
        raise VqcliError(message, hint="pip install 'vqcli[parquet]'", reason="missing-extra") from e
    # other pools reserve memory, which ``bounded`` would count
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    return pyarrow


@contextmanager
def translated(place: Location) -> Iterator[None]:
    """What pyarrow raises on a file becomes a sentence on that file."""
    pyarrow = needed(place)
    try:
        yield
    except MemoryError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, StopIteration) as e:
        if isinstance(e, OSError) and e.errno:  # those of Arrow on what the bytes are have none
            raise files.unread(place, e) from e
        told = str(e).partition("\n")[0] or type(e).__name__
        if isinstance(e, pyarrow.ArrowNotImplementedError) or "encrypt" in told or "odec" in told:
            hint = "write it again without encryption, compressed by zstd or snappy"
            raise VqcliError(f"pyarrow cannot read {place}: {told}", hint=hint, reason="format") from e
        raise VqcliError(f"{place} is damaged: {told}", hint="download it again", reason="damaged") from e
