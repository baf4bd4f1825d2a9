"""Folders that appear whole: made beside their name, listed, put in place by exchange."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vqcli.errors import VqcliError
from vqcli.files.cleaning import remove
from vqcli.files.hashes import MANIFEST, hash_of
from vqcli.files.refused import unwritten
from vqcli.files.seals import read_sealed, write_sealed
from vqcli.files.there import below, children, exists, is_folder
from vqcli.files.writing import beside, hold, placed, resolved, sync_folder

AT_FDCWD, EXCHANGE = -100, 2
"""Of ``renameat2`` (Linux); ``renamex_np`` (macOS) has the same flag."""
NO_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


@contextmanager
def writing_folder(path: Path, *, listed: bool = True) -> Iterator[Path]:
    """A folder that takes its name when the block ends well; an older one of that name is replaced only then.

    ``listed`` adds a ``manifest.json`` of sizes and hashes; folders that hold their own need none.
    Raises VqcliError if the disk refuses.
    """
    path = placed(resolved(path) if path.is_symlink() else path)
    temporary, handle = beside(path), None
    try:
        try:
            temporary.mkdir(parents=True)
            handle = os.open(temporary, os.O_RDONLY)
        except OSError as e:
            raise unwritten(path, e) from e
        hold(handle)
        yield temporary
        try:
            if listed:
                write_sealed(temporary / MANIFEST, {"files": manifest(temporary)})
            _put(temporary, path)
        except OSError as e:
            raise unwritten(path, e) from e
    finally:
        remove(temporary)  # the older one, or what is unfinished
        if handle is not None:
            os.close(handle)


def _put(temporary: Path, path: Path) -> None:
    """Give a folder its name, and its own to an older one."""
    if not os.path.lexists(path):
        temporary.rename(path)
    elif not _exchanged(temporary, path):
        discarded = beside(path)
        try:
            path.rename(discarded)
            temporary.rename(path)
        except BaseException:  # of a signal, too
            with suppress(OSError):
                discarded.rename(path)
            raise
        discarded.rename(temporary)
    sync_folder(path.parent)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(first, second, EXCHANGE)
        else:
            failed = library.renameat2(AT_FDCWD, first, AT_FDCWD, second, EXCHANGE)
    except AttributeError:
        return False
    if failed and ctypes.get_errno() not in NO_EXCHANGE:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
    return not failed


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file below a folder, by relative name."""
    return _found(folder, again=True)


def _found(folder: Path, *, again: bool) -> dict[str, dict[str, Any]]:
    return {str(p.relative_to(folder)): _entry(p, again=again) for p in below(folder) if p.name != MANIFEST}


def _entry(path: Path, *, again: bool) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": hash_of(path, again=again)}


def verified(folder: Path, *, again: bool = False) -> bool:
    """Whether a folder is just what its manifest says; ``again`` hashes what was hashed before, too.

    False if it is damaged or not there. Raises VqcliError where it cannot be read: nobody knows then.
    """
    return damaged_file(folder, again=again) is None


def damaged_file(folder: Path, *, again: bool = False) -> Path | None:
    """The first file of a folder that is not what the manifest says, missing or one too many; None if none.

    Raises VqcliError where it cannot be read: nobody knows then.
    """
    try:
        listed, found = dict(read_sealed(folder / MANIFEST)["files"]), _found(folder, again=again)
        return next((folder / n for n in sorted({*listed, *found}) if listed.get(n) != found.get(n)), None)
    except VqcliError as e:
        if e.reason == "os":
            raise
    except (KeyError, TypeError, ValueError):
        pass
    return folder / MANIFEST


def check_free(path: Path, *, ours: bool, force: bool) -> None:
    """Raises VqcliError if something is there already; ``force`` replaces only what is ``ours``."""
    empty = is_folder(path) and not children(path)
    if exists(path) and not empty and not (ours and force):
        hint = "--force replaces it" if ours else "move it away, or give another -o"
        raise VqcliError(f"{path} exists already", hint=hint, reason="exists")


def remove_folder(path: Path) -> None:
    """Delete a folder so that a kill never leaves half of it under its name."""
    discarded = beside(path)
    try:
        path.rename(discarded)
    except OSError as e:
        raise unwritten(path, e) from e
    remove(discarded)
