"""Removing what killed writers left unfinished, and nothing that a living one is at."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from contextlib import suppress
from pathlib import Path

from vqcli.files.refused import patiently
from vqcli.files.writing import TEMPORARY, hold


def remove(path: Path) -> None:
    """Delete a temporary, of whatever kind, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        with suppress(OSError):
            patiently(lambda: shutil.rmtree(path))
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            patiently(lambda: path.unlink(missing_ok=True))


def clean_beside(path: Path) -> None:
    """Remove what killed makers of a file or folder left beside its name; for the one that makes it now."""
    clean(path.parent, f"{TEMPORARY}{'[0-9a-f]' * 8}-{glob.escape(path.name[-40:])}")


def clean(folder: Path, pattern: str = f"{TEMPORARY}*") -> None:
    """Remove what killed writers left unfinished in a folder, and nothing that a living one is at."""
    for path in folder.glob(pattern):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError as e:
            if e.errno in (errno.EACCES, errno.EPERM, errno.ELOOP):  # no right to read it, or a link
                remove(path)
            continue
        try:
            if hold(handle):
                remove(path)
        finally:
            os.close(handle)
