"""Folders that results go into: what may stand there before."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.types import Progress, silent

NEW = ".new-results"
"""In a folder: results that are whole, and take the places of older ones among other files."""


def check_folder(out: Path) -> None:
    """Raises VqcliError if what is at ``out`` is no folder."""
    if files.exists(out) and not files.is_folder(out):
        raise VqcliError(f"{out} is no folder", hint="give another -o", reason="exists")


def made(path: Path) -> bool:
    """Whether an image is there already. Raises VqcliError if it is damaged."""
    if not files.exists(path):
        return False
    if not files.whole_image(path):
        hint = "the same command makes it again"
        raise VqcliError(f"{path} is damaged", hint=hint, reason="damaged")
    return True


def whole(is_made: Callable[[], bool], progress: Progress = silent) -> bool:
    """Whether something is there already; what is damaged is not, and that is said."""
    try:
        return is_made()
    except VqcliError as e:
        if e.reason != "damaged":
            raise
        progress.say(f"{e}: it is made again")
        return False


def vacant(folder: Path) -> bool:
    """Whether a folder holds nothing but a lock and what a killed job left unfinished."""
    names = (path.name for path in files.children(folder))
    return all(name == ".lock" or name.startswith(files.TEMPORARY) for name in names)


@contextmanager
def together(out: Path, names: Collection[str]) -> Iterator[Path]:
    """A folder whose files become those of these ``names`` in ``out``, all of them, when the block ends well.

    What else is in ``out`` stays there. Raises VqcliError if the disk refuses.
    """
    place = files.placed(files.resolved(out))
    alone = not files.exists(place) or _replaceable(place, names)
    with files.writing_folder(place if alone else place / NEW, listed=not alone) as folder:
        yield folder
    settle(place, names)


def settle(out: Path, names: Collection[str]) -> None:
    """Put results in their places that are whole, and whose maker was killed just then."""
    new = out / NEW
    if not files.is_folder(new):
        return
    listed = files.read_sealed(new / "manifest.json")["files"]
    try:
        for name in names:
            if name not in listed:
                (out / name).unlink(missing_ok=True)
            elif files.exists(new / name):
                (new / name).replace(out / name)
    except OSError as e:
        raise files.unwritten(out, e) from e
    files.remove_folder(new)


def _replaceable(place: Path, names: Collection[str]) -> bool:
    """Whether a folder holds these files alone, and can be exchanged for another."""
    if place == Path.cwd() or os.path.ismount(place):
        return False
    found = {path.name for path in files.children(place)}
    return bool(found) and found <= set(names)
