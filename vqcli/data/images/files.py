"""Images named one by one: a list file, standard input, a glob, a single file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vqcli.data.images.base import Names, StoredSource
from vqcli.errors import VqcliError


class ListSource(StoredSource):
    """Images from a list of paths."""

    def __init__(self, names: Sequence[str], folder: Path | None = None) -> None:
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

    def __len__(self) -> int:
        return len(self._names)

    def key(self, i: int) -> str:
        return self._names[i]

    def label(self, i: int) -> int | None:
        return None

    def read(self, i: int) -> Path:
        name = self._names[i]
        if self.folder and os.path.exists(self.folder / name):  # noqa: PTH110 (takes names of any length)
            return self.folder / name
        return Path(name)


def read_list(path: Path) -> list[str]:
    """The names in a list file, one a line; blank lines and ``#`` lines are left out. Raises VqcliError."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as e:
        raise VqcliError(
            f"cannot read {path}: {e.strerror}", hint="check the path", reason="input-missing"
        ) from e
    return names_in(text)


def names_in(text: str) -> list[str]:
    """The names in a list's text."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return [line for line in lines if line.strip() and not line.startswith("#")]
