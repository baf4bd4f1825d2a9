"""The names of a generator's classes, in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vqcli import files
from vqcli.errors import VqcliError

CLASSES = "classes.json"


def write_classes(folder: Path, names: Sequence[str]) -> None:
    """Put the names of a generator's classes into its folder, where there are any."""
    if names:
        files.write_json(folder / CLASSES, list(names))


def read_classes(folder: Path) -> list[str]:
    """Names of a generator's classes; empty where nobody told them. Raises VqcliError if they are damaged."""
    path = folder / CLASSES
    names = files.read_listed(path) if files.is_there(path) else []
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise VqcliError(f"{path} holds no list of names", hint="copy the folder again", reason="damaged")
    return names
