"""Folders that results go into: what may stand there before."""

from __future__ import annotations

from pathlib import Path

from vqcli import files
from vqcli.errors import VqcliError


def check_folder(out: Path) -> None:
    """Raises VqcliError if what is at ``out`` is no folder."""
    if out.exists() and not out.is_dir():
        raise VqcliError(f"{out} is no folder", hint="give another -o", reason="exists")


def vacant(folder: Path) -> bool:
    """Whether a folder holds nothing but a lock and what a killed job left unfinished."""
    return all(path.name == ".lock" or path.name.startswith(files.TEMPORARY) for path in folder.iterdir())
