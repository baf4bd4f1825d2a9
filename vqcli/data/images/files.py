"""Images named one by one: a list file, standard input, a glob, a single file."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from vqcli.data.images.base import IMAGE_SUFFIXES, Names, Source, StoredSource
from vqcli.data.images.forms import forms
from vqcli.data.images.shards import reader_of
from vqcli.data.location import Location, location, suffix_of
from vqcli.errors import VqcliError
from vqcli.types import Reading

LIST_SUFFIX = ".txt"


class ListSource(StoredSource):
    """Images from a list of paths."""

    FORM = "an image, a quoted glob, a .txt list, - for names on stdin"

    def __init__(self, names: Sequence[str], folder: Location | None = None) -> None:
        """Relative names are looked up in ``folder``, then where the command runs. Raises VqcliError."""
        if not names:
            raise VqcliError("the list names no images", hint="one path a line", reason="input-empty")
        seen = set()
        for name in names:
            if name in seen:
                raise VqcliError(
                    f"the list names {name} twice", hint="list every image once", reason="input-duplicate"
                )
            seen.add(name)
        self._names, self.folder = Names(names), folder
        self.classes = []

    @classmethod
    def claims(cls, text: str) -> bool:
        if text == "-":
            return True
        place = location(text)
        if place.suffix in IMAGE_SUFFIXES | {LIST_SUFFIX} and place.holds_file():
            return True
        return glob.has_magic(text) and not place.exists()

    @classmethod
    def open(cls, text: str, reading: Reading) -> Source:
        if text == "-":
            return cls(names_in(_stdin()))
        names = [text]
        if not location(text).exists():
            names = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 (absolute ones too)
        files = [name for name in names if not location(name).is_folder()]
        if len(files) == 1 and suffix_of(files[0]) == LIST_SUFFIX:
            return cls(read_list(location(files[0])), location(os.path.dirname(files[0])))  # noqa: PTH120
        reader = reader_of(files)
        if reader:
            return reader.of_files([location(name) for name in files], files, reading, text)
        images = [name for name in names if suffix_of(name) in IMAGE_SUFFIXES]
        if not images:
            raise VqcliError(f"{text} holds no images", hint=f"give {forms()}", reason="input-empty")
        return cls(images)

    def __len__(self) -> int:
        return len(self._names)

    def key(self, i: int) -> str:
        return self._names[i]

    def label(self, i: int) -> int | None:
        return None

    def read(self, i: int) -> Location:
        name = self._names[i]
        if self.folder and (beside := self.folder / name).exists():
            return beside
        return location(name)


def read_list(place: Location) -> list[str]:
    """The names in a list file, one a line; blank lines and ``#`` lines are left out. Raises VqcliError."""
    try:
        with TextIOWrapper(place.open(), encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as e:
        raise VqcliError(
            f"cannot read {place}: {e.strerror}", hint="check the path", reason="input-missing"
        ) from e
    return names_in(text)


def _stdin() -> str:
    """Standard input; bytes that are no UTF-8 as in names of files. Raises VqcliError if it is closed."""
    if sys.stdin is None:
        raise VqcliError(
            "- reads names from standard input, which is closed",
            hint="pipe them in, or name a .txt list of them",
            reason="input-missing",
        )
    return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")


def names_in(text: str) -> list[str]:
    """The names in a list's text."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return [line for line in lines if line.strip() and not line.startswith("#")]
