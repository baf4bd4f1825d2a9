"""Long lists in a JSON file, a value a line: written and read part by part, and never held as a whole.

    {
     "format": 1,
     "keys": [
    "cat/1.png",
    "cat/2.png"
    ],
     "seal": "..."
    }

No JSON text has a line's end inside of a string, so that what it all says is told without parsing it: lists
without their line ends are as a seal is computed of them.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, Self

from vqcli import bounds
from vqcli.errors import VqcliError
from vqcli.files.reading import open_regular, parse_json
from vqcli.files.refused import unread

STEP = 1 << 17
"""Bytes that are read together."""
BEGIN = re.compile(rb' "(\w+)": \[\n')
BETWEEN, END = b",\n", b"\n]"
Fits = Callable[[Any], bool]


class LongList:
    """A list that is written once, in a file without a name."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed with this)
        self._before = b"[\n"

    def add(self, values: list[Any]) -> None:
        """Add values at the end. Raises OSError."""
        if any(isinstance(value, dict | list) for value in values):
            self._write(",\n".join(map(compact, values)))
        elif values:
            self._write(compact(values, ",\n")[1:-1])

    def _write(self, text: str) -> None:
        self._file.write(self._before + text.encode())
        self._before = BETWEEN

    def lines(self) -> Iterator[bytes]:
        """It as JSON, part by part."""
        self._file.seek(0)
        yield from iter(lambda: self._file.read(STEP), b"")
        yield END if self._before == BETWEEN else b"[]"

    def compact(self) -> Iterator[bytes]:
        """As ``lines``, all in one line."""
        return (part.replace(b"\n", b"") for part in self.lines())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()


class Lines:
    """A list that lies in a file, read whenever it is asked for."""

    def __init__(self, path: Path, start: int, size: int, count: int, fits: Fits) -> None:
        """``size`` bytes from ``start`` on are ``count`` values, each of which ``fits``."""
        self.path, self._start, self._size, self._count, self._fits = path, start, size, count, fits

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        """Every value. Raises VqcliError where one is not as it should be, or cannot be read."""
        left, rest = self._count, b""
        for part in self._parts():
            some, between, rest = (rest + part).rpartition(BETWEEN)
            if between:
                values = self._values(some)
                left -= len(values)
                yield from values
        last = self._values(rest)
        if left != len(last):
            raise self._damaged()
        yield from last

    def compact(self) -> Iterator[bytes]:
        """It as JSON in one line, part by part."""
        yield b"["
        yield from (part.replace(b"\n", b"") for part in self._parts())
        yield b"]"

    def _parts(self) -> Iterator[bytes]:
        with open_regular(self.path) as file:
            file.seek(self._start)
            left = self._size
            while left and (part := _read(file, min(STEP, left), self.path)):
                left -= len(part)
                yield part

    def _values(self, text: bytes) -> list[Any]:
        values: list[Any] = parse_json(b"[" + text + b"]", self.path)
        if not all(map(self._fits, values)):
            raise self._damaged()
        return values

    def _damaged(self) -> VqcliError:
        message = f"{self.path} is damaged: one of its lists is not what it should be"
        return VqcliError(message, hint="make it again", reason="damaged")


def with_lines(path: Path, lists: Mapping[str, Fits]) -> dict[str, Any] | None:
    """The JSON object of a file, of which those ``lists`` are ``Lines`` and unread; None where none is.

    Raises VqcliError if it cannot be read, or the rest of it is no JSON object.
    """
    with open_regular(path) as file:
        rest, size, found = [], 0, dict[str, Lines]()
        while line := file.readline(bounds.LINE):
            begin = BEGIN.fullmatch(line)
            if begin and (name := begin[1].decode()) in lists:
                lines = _lines(file, path, lists[name])
                if not lines or name in found or file.readline(len(BETWEEN)) != BETWEEN:
                    return None
                found[name] = lines
                continue
            size += len(line)
            if not line.endswith(b"\n") or size > bounds.TEXT:
                return None
            rest.append(line)
    value = parse_json(b"".join(rest), path) if found else None
    return {**value, **found} if isinstance(value, dict) and not found.keys() & value.keys() else None


def _lines(file: BufferedReader, path: Path, fits: Fits) -> Lines | None:
    """The list whose first value comes next, after which the file is left; None where it has no end."""
    start, size, count, before = file.tell(), 0, 1, b"\n"
    while part := _read(file, STEP, path):
        if b"]" in part and (at := (before + part).find(END)) >= 0:  # one byte is found far faster than two
            size += at - 1
            count += part[: max(at - 1, 0)].count(b"\n") - (at == 0)
            file.seek(start + size + len(END))
            return Lines(path, start, size, count, fits)
        size, count, before = size + len(part), count + part.count(b"\n"), part[-1:]
    return None


def _read(file: BufferedReader, size: int, path: Path) -> bytes:
    try:
        return file.read(size)
    except OSError as e:
        raise unread(path, e) from e


def compact(value: Any, between: str = ",") -> str:
    """A value as JSON without spaces, and with sorted keys."""
    return json.dumps(value, sort_keys=True, separators=(between, ":"), allow_nan=False)
