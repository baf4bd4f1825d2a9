"""What a pattern names, as ``glob.glob`` has it, which takes for absent what the machine cannot read."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vqcli import files
from vqcli.data.location import location

EVERYWHERE = "**"


def matches(pattern: str) -> list[str]:
    """Files and folders, sorted; ``**`` stands for any folders. Raises VqcliError on what cannot be read."""
    return sorted(set(_matching(pattern)))


def _matching(pattern: str) -> Iterator[str]:
    head, name = os.path.split(pattern)
    for folder in _matching(head) if glob.has_magic(head) else [head]:
        if name == EVERYWHERE:
            yield os.path.join(folder, "")  # noqa: PTH118
            yield from _below(folder)
        elif glob.has_magic(name):
            names = [each for each in _names(folder) if name[0] == "." or each[0] != "."]
            yield from (os.path.join(folder, each) for each in fnmatch.filter(names, name))  # noqa: PTH118
        elif location(path := os.path.join(folder, name)).exists() and (name or location(path).is_folder()):  # noqa: PTH118
            yield path


def _below(folder: str) -> Iterator[str]:
    for name in _names(folder):
        if name[0] != ".":
            yield (path := os.path.join(folder, name))  # noqa: PTH118
            if not _leads_back(Path(path)):
                yield from _below(path)


def _leads_back(path: Path) -> bool:
    """Whether a link leads to a folder that it lies in; two of them would have no end in a lifetime."""
    if path.is_symlink():
        with suppress(OSError):  # which listing it tells
            to = path.stat()
            return any(os.path.samestat(to, above.stat()) for above in path.absolute().parents)
    return False


def _names(folder: str) -> list[str]:
    return [path.name for path in files.children(Path(folder or os.curdir))]
