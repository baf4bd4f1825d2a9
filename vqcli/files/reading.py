"""Reading files: regular ones only, no more than fits, with one sentence where that fails."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

from vqcli import bounds
from vqcli.errors import VqcliError
from vqcli.files.memory import within
from vqcli.files.patient import buffered
from vqcli.files.refused import patiently, unread

SEALED = re.compile(rb'(.*), "crc32": "([0-9a-f]{8})"\}\s*', re.DOTALL)
"""A line that ends with the checksum of what it is without that key."""
SUM = 5, 8
"""Characters of that key, and of a checksum: numbers of a log are no such texts."""


def open_regular(path: Path) -> BufferedReader:
    """A regular file, open for reading, each read made again where the machine refuses it.

    Raises VqcliError for all else: on a pipe one could wait for ever.
    """

    def opened() -> BufferedReader:
        return _regular(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), path)

    try:
        return patiently(opened)
    except OSError as e:
        raise (_irregular(path) if e.errno == errno.ENXIO else unread(path, e)) from e


def open_inside(folder: Path, name: str) -> BufferedReader:
    """A regular file below a folder, open for reading, which lies there itself: no link below it is followed.

    Raises VqcliError for all else: of a stranger's folder, a link may lead to what is nobody else's.
    """
    *above, last = name.split("/")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    there = folder / name
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in above:
                below = os.open(part, flags | os.O_DIRECTORY, dir_fd=handle)
                os.close(handle)
                handle = below
            return _regular(os.open(last, flags | os.O_NONBLOCK, dir_fd=handle), there)
        finally:
            os.close(handle)
    except OSError as e:
        if any(path.is_symlink() for path in (there, *there.parents[: len(above)])):
            hint = "put the file itself there, or list its folder's files anew without it"
            message = f"{there} is a link, or below one; only files of the folder itself are passed on"
            raise VqcliError(message, hint=hint, reason="unsafe") from e
        raise unread(there, e) from e


def _regular(handle: int, path: Path) -> BufferedReader:
    """The file of a handle, which is closed where it is of no regular one."""
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise _irregular(path)
        return buffered(handle, path)
    except BaseException:
        os.close(handle)
        raise


def _irregular(path: Path) -> VqcliError:
    hint = "give a regular file; what a pipe or device sends can be saved into one first"
    return VqcliError(f"{path} is no regular file", hint=hint, reason="format")


def read_bytes(path: Path, most: int = bounds.TEXT) -> bytes:
    """What a file holds. Raises VqcliError if it cannot be read or has more than ``most`` bytes."""
    with open_regular(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size  # of what only looks like a file it can be 0
            data = file.read(most + 1) if size <= most else b""
        except OSError as e:
            raise unread(path, e) from e
    if max(size, len(data)) > most:
        hint = "it is not what it should be: make it, or copy it, again"
        raise VqcliError(f"{path} has more than {most:,} bytes", hint=hint, reason="damaged")
    return data


def read_text(path: Path, most: int = bounds.TEXT) -> str:
    """A UTF-8 text. Raises VqcliError if it is none."""
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise VqcliError(f"{path} is no UTF-8 text", hint="save it as UTF-8", reason="damaged") from e


def read_json(path: Path, most: int = bounds.TEXT) -> Any:
    """The value in a JSON file. Raises VqcliError if there is none."""
    data = read_bytes(path, most)
    with within(path, len(data)):
        return parse_json(data, path)


def parse_json(data: bytes, path: str | Path) -> Any:
    """The value of JSON that a file holds: UTF-8, finite numbers, no key twice. Raises VqcliError."""
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_infinite, parse_float=_finite)
        if "\\ud" in text.lower():  # half a letter, other than those that stand for bytes in names of files
            json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
        return value
    except (ValueError, RecursionError) as e:
        said = "nested too deep" if isinstance(e, RecursionError) else str(e)
        message = f"{path} is no readable JSON file ({said})"
        raise VqcliError(message, hint="make it again", reason="damaged") from e


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"key '{twice[:40]}' is there twice")
    return found


def _infinite(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _infinite(text)


def read_lines(path: Path, bad: Callable[[int], object] | None = None) -> Iterator[Any]:
    """The JSON objects of a file of lines; an unfinished last line, which a kill can leave, is left out.

    ``bad`` is told the numbers of other lines that hold none, from 1. Without it they raise VqcliError.
    """
    with open_regular(path) as file:
        number = 0
        try:
            while line := file.readline(bounds.LINE):
                number += 1
                if not line.endswith(b"\n") and not (line := _rest(file)):
                    return
                value = _line(line)
                if value is not None:
                    yield value
                elif bad:
                    bad(number)
                else:
                    message, hint = f"line {number} of {path} is damaged", "make the file again"
                    raise VqcliError(message, hint=hint, reason="damaged")
        except OSError as e:
            raise unread(path, e) from e


def _rest(file: BufferedReader) -> bytes:
    """A line's end where it is too long to be read, as a line that holds nothing; b"" if there is none."""
    while more := file.readline(bounds.LINE):
        if more.endswith(b"\n"):
            return b"\n"
    return b""


def _line(line: bytes) -> dict[str, Any] | None:
    if sealed := SEALED.fullmatch(line):  # lines of older versions, and of others, have no checksum
        line = sealed[1] + b"}"
        if zlib.crc32(line) != int(sealed[2], 16):
            return None
    try:
        value = parse_json(line, "")
    except VqcliError:
        return None
    if not isinstance(value, dict) or (not sealed and _was_sealed(value)):
        return None
    return value


def _was_sealed(value: dict[str, Any]) -> bool:
    """Whether a line without a checksum ends with what was one, before a bit of it or of its name changed."""
    name, last = next(reversed(value.items()), ("", ""))
    return isinstance(last, str) and (len(name), len(last)) == SUM
