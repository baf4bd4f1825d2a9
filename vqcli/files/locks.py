"""Locks: one process at a time works in a folder, or makes a file. They die with their holders."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vqcli.errors import VqcliError
from vqcli.files.cleaning import clean_beside
from vqcli.files.refused import is_absent, patiently, unread, unwritten
from vqcli.files.there import is_folder
from vqcli.files.writing import placed

BUSY = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)
_own: set[tuple[int, Path]] = set()
"""Locks that a process holds: it would lose them with the first file of that name that it closes."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one process. Raises VqcliError if another holds it; the lock dies with its holder."""
    lock = folder / ".lock"
    with _noted(lock) as is_held:
        if is_held:
            yield
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = open(lock, "a")  # noqa: SIM115 (closed below, where its errors are the caller's)
        except OSError as e:
            raise _no_lock(folder, e) from e
        with file:
            _hold(folder, file)
            yield


@contextmanager
def _noted(lock: Path) -> Iterator[bool]:
    """Whether this process holds a lock already; if not, it will."""
    key = os.getpid(), lock.absolute()
    if key in _own:
        yield True
        return
    _own.add(key)
    try:
        yield False
    finally:
        _own.discard(key)


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Be the one process that makes a file or folder; what killed makers of it left unfinished is removed.

    Raises VqcliError if another process is at it, or it is ``/``. Its lock lies beside it, or in a folder
    whose parent is not to be written, and goes when this ends.
    """
    path = placed(path)
    lock = path.with_name(f".lock-{path.name[-40:]}")
    if is_folder(path) and not os.access(path.parent, os.W_OK):
        lock = path / ".lock"
    with _noted(lock) as is_held:
        if is_held:
            yield
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = _current(lock, path)
        except OSError as e:
            raise unwritten(path, e) from e
        with file:
            try:
                clean_beside(path)
                yield
            finally:
                with suppress(OSError):
                    patiently(lock.unlink)


def _current(lock: Path, path: Path) -> IO[str]:
    """The lock's file, held, and still the one of that name: its last holder may just have removed it."""
    while True:
        file = open(lock, "a")  # noqa: SIM115 (closed by the caller)
        try:
            _hold(path, file)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):  # noqa: PTH116
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def held(folder: Path) -> bool:
    """Whether a process holds a folder at this moment. Raises VqcliError where nobody can tell."""
    import fcntl

    if (os.getpid(), (folder / ".lock").absolute()) in _own:
        return True
    try:
        file = open(folder / ".lock")  # noqa: SIM115 (closed below, where its errors mean something else)
    except OSError as e:
        if is_absent(e):
            return False
        raise unread(folder / ".lock", e) from e
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as e:
            if e.errno in (*BUSY, errno.ENOLCK):  # a share without locks, on which nobody holds any
                return e.errno in BUSY
            raise unread(folder / ".lock", e) from e
    return False


def _hold(path: Path, file: IO[str]) -> None:
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, forked workers do not hold it
    except OSError as e:
        if e.errno not in BUSY:
            raise _no_lock(path, e) from e
        raise VqcliError(
            f"{path} is in use by another vqcli process",
            hint="wait for it, or choose another folder",
            reason="locked",
        ) from e


def _no_lock(path: Path, e: OSError) -> VqcliError:
    hint = "check its rights, or choose a folder on a local disk"
    return VqcliError(f"cannot lock {path}: {e.strerror or e}", hint=hint, reason="output")
