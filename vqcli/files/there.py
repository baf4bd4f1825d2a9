"""What lies at a path, as far as the machine tells: ``pathlib`` takes its errors for absence."""

from __future__ import annotations

import os
import stat
from fnmatch import fnmatchcase
from pathlib import Path

from vqcli.files.refused import is_absent, patiently, unread


def exists(path: Path) -> bool:
    """Whether anything lies there. Raises VqcliError where the machine cannot tell, as all of these do."""
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Whether a regular file lies there."""
    return stat.S_ISREG(_mode(path) or 0)


def is_folder(path: Path) -> bool:
    """Whether a folder lies there."""
    return stat.S_ISDIR(_mode(path) or 0)


def _mode(path: Path) -> int | None:
    try:
        return patiently(path.stat).st_mode
    except ValueError:  # no file can have this name
        return None
    except OSError as e:
        if is_absent(e):
            return None
        raise unread(path, e) from e


def children(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies in a folder under names of this pattern, in order; nothing where there is no folder."""
    return [folder / name for name in sorted(_entries(folder)) if fnmatchcase(name, pattern)]


def below(folder: Path, pattern: str = "*") -> list[Path]:
    """Every regular file below a folder under names of this pattern, in order; no link is gone into."""
    found: list[Path] = []
    pending = [folder]
    while pending:
        place = pending.pop()
        for name, goes_on in _entries(place).items():
            if goes_on:
                pending.append(place / name)
            elif fnmatchcase(name, pattern) and is_file(place / name):
                found.append(place / name)
    return sorted(found)


def _entries(folder: Path) -> dict[str, bool]:
    """Names in a folder, and whether each is of a folder that lies there itself."""

    def listed() -> dict[str, bool]:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}

    try:
        return patiently(listed)
    except OSError as e:
        if is_absent(e):
            return {}
        raise unread(folder, e) from e
