"""Writing files: beside the final name, flushed, renamed."""

from __future__ import annotations

import errno
import json
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from vqcli.errors import VqcliError
from vqcli.files.refused import unread, unwritten

TEMPORARY = ".tmp-"
"""What the names of unfinished files and folders start with; their makers hold a lock on them."""
UNSUPPORTED = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM}
)
"""What a share says that flushes files and no folders, or a folder that may be written and not read."""


def resolved(path: Path) -> Path:
    """A path without links; links that lead in a circle stay, for which ``Path.resolve`` has an error."""
    return Path(os.path.realpath(path))


def placed(path: Path) -> Path:
    """The path of what is to be made, with a name of its own. Raises VqcliError for ``/``, which has none."""
    path = resolved(path) if path.name in ("", "..") else path
    if not path.name:
        raise VqcliError(f"{path} is no place for a result", hint="give another -o", reason="exists")
    return path


def beside(path: Path) -> Path:
    """A name for what will become ``path``, which no other process uses. Raises VqcliError as ``placed``."""
    return placed(path).with_name(f"{TEMPORARY}{os.urandom(4).hex()}-{path.name[-40:]}")


def hold(handle: int) -> bool:
    """Lock a temporary while it is open, for all to see that its maker lives; False if another has it."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        return e.errno not in (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)  # others: a share without locks
    return True


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk, where that can be done: its files are whole in any case."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as e:
        if e.errno not in UNSUPPORTED:
            raise


def _discard(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink()


def _check_replaceable(path: Path) -> None:
    """Raises VqcliError where the final name is a device or pipe: a rename would put a file in its place."""
    with suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            message = f"cannot write {path}: it is no regular file"
            raise VqcliError(message, hint="give the name of a file", reason="output")


@contextmanager
def writing(path: Path, *, flush_name: bool = True) -> Iterator[IO[bytes]]:
    """A binary file that takes its name when the block ends well. Raises VqcliError if the disk refuses.

    Of many files in one folder, their names can be flushed together afterwards: ``sync_folder``.
    """
    temporary = beside(path)
    try:
        _check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            hold(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        if flush_name:
            sync_folder(path.parent)
    except OSError as e:
        _discard(temporary)
        raise unwritten(path, e) from e
    except BaseException:
        _discard(temporary)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file."""
    with writing(path) as file:
        file.write(data)


def write_copy(path: Path, source: IO[bytes]) -> None:
    """Write what another file holds, which is open."""
    with writing(path) as file:
        while data := _more(source):
            file.write(data)


def _more(source: IO[bytes]) -> bytes:
    try:
        return source.read(1 << 20)
    except OSError as e:
        raise unread(source.name, e) from e


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, indented."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def line_of(value: dict[str, Any]) -> str:
    """A JSON object as a line that ends with the checksum of the rest, by which ``read_lines`` knows it."""
    text = json.dumps(value, allow_nan=False)
    return f'{text[:-1]}, "crc32": "{zlib.crc32(text.encode()):08x}"}}\n' if value else f"{text}\n"


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Add one JSON object as a line; a torn last line is what a kill can leave, and readers skip it.

    Raises VqcliError if the disk refuses.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line_of(value))
    except OSError as e:
        raise unwritten(path, e) from e
