"""A folder of images, with one sub-folder per class or without."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vqcli.data.images.base import IMAGE_SUFFIXES, Labels, Names, StoredSource
from vqcli.data.images.splits import by_first_folder, check_split, present
from vqcli.errors import VqcliError


def find_files(folder: Path, suffixes: frozenset[str]) -> list[str]:
    """Sorted relative names of the files below a folder, but hidden ones and links. Raises VqcliError."""
    found, pending = [], [""]
    while pending:
        below = pending.pop()
        try:
            with os.scandir(folder / below) as entries:
                for entry in entries:
                    name = f"{below}{entry.name}"
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{name}/")
                    elif Path(name).suffix.lower() in suffixes and entry.is_file(follow_symlinks=False):
                        found.append(name)
        except OSError as e:
            hint = "check the folder's rights"
            raise VqcliError(
                f"cannot read {folder / below}: {e.strerror}", hint=hint, reason="input-missing"
            ) from e
    return sorted(found)


class FolderSource(StoredSource):
    """Images in a folder and its sub-folders; the first-level sub-folder is the class."""

    def __init__(self, folder: Path, names: list[str] | None = None, split: str | None = None) -> None:
        """``names`` are the images' relative paths, if they were found already. Raises VqcliError."""
        names = find_files(folder, IMAGE_SUFFIXES) if names is None else names
        if not names:
            hint = f"known: {' '.join(sorted(IMAGE_SUFFIXES))}"
            raise VqcliError(f"{folder} holds no images", hint=hint, reason="input-empty")
        self.folder, splits = folder, by_first_folder(names)
        self.splits = present(splits)
        classes = [_class(name, inside_split=splits is not None) for name in names]
        labelled = None not in classes
        self.classes = sorted({c for c in classes if c}) if labelled else []
        number = {name: i for i, name in enumerate(self.classes)}
        chosen: Sequence[int] = range(len(names))
        if split and splits:
            wanted = check_split(split, self.splits, str(folder))
            chosen = [i for i in chosen if splits[i] == wanted]
        self._names = Names(names[i] for i in chosen)
        self._labels = Labels(number[classes[i] or ""] if labelled else None for i in chosen)

    def __len__(self) -> int:
        return len(self._names)

    def key(self, i: int) -> str:
        return self._names[i]

    def label(self, i: int) -> int | None:
        return self._labels[i]

    def read(self, i: int) -> Path:
        return self.folder / self._names[i]


def _class(name: str, *, inside_split: bool) -> str | None:
    """The class folder of a relative path; None for an image that lies in none."""
    parts = name.split("/")[inside_split:]
    return parts[0] if len(parts) > 1 else None
