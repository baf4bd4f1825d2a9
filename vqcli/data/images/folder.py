"""A folder of images, with one sub-folder per class or without."""

from __future__ import annotations

from collections.abc import Sequence

from vqcli.data.images.base import IMAGE_SUFFIXES, Labels, Names, Source, StoredSource
from vqcli.data.images.shards import reader_of, shards_in_folders
from vqcli.data.images.splits import by_first_folder, check_split, present
from vqcli.data.location import Location, location, suffix_of
from vqcli.errors import VqcliError
from vqcli.types import Reading

ANYHOW = Reading()


class FolderSource(StoredSource):
    """Images in a folder and its sub-folders; the first-level sub-folder is the class."""

    FORM = "a folder"

    def __init__(self, folder: Location, names: list[str] | None = None, reading: Reading = ANYHOW) -> None:
        """``names`` are the images' relative paths, if they were found already. Raises VqcliError."""
        names = folder.listing(IMAGE_SUFFIXES) if names is None else names
        if not names:
            hint = f"known: {' '.join(sorted(IMAGE_SUFFIXES))}"
            raise VqcliError(f"{folder} holds no images", hint=hint, reason="input-empty")
        self.folder, self.reading, splits = folder, reading, by_first_folder(names)
        self.splits = present(splits)
        classes = [_class(name, inside_split=splits is not None) for name in names]
        labelled = reading.labels and None not in classes
        self.classes = sorted({c for c in classes if c}) if labelled else []
        number = {name: i for i, name in enumerate(self.classes)}
        chosen: Sequence[int] = range(len(names))
        if reading.split and splits:
            wanted = check_split(reading.split, self.splits, str(folder))
            chosen = [i for i in chosen if splits[i] == wanted]
        self._names = Names(names[i] for i in chosen)
        self._labels = Labels(number[classes[i] or ""] if labelled else None for i in chosen)

    @classmethod
    def claims(cls, text: str) -> bool:
        return location(text).is_folder()

    @classmethod
    def open(cls, text: str, reading: Reading) -> Source:
        """The shards in a folder if there are any, else its images."""
        folder, sought = location(text), shards_in_folders()
        names = folder.listing(IMAGE_SUFFIXES | sought)
        shards = [name for name in names if suffix_of(name) in sought]
        reader = reader_of(shards)
        if reader:
            return reader.of_files([folder / name for name in shards], shards, reading, str(folder))
        return cls(folder, names, reading)

    def __len__(self) -> int:
        return len(self._names)

    def key(self, i: int) -> str:
        return self._names[i]

    def label(self, i: int) -> int | None:
        return self._labels[i]

    def read(self, i: int) -> Location:
        return self.folder / self._names[i]


def _class(name: str, *, inside_split: bool) -> str | None:
    """The class folder of a relative path; None for an image that lies in none."""
    parts = name.split("/")[inside_split:]
    return parts[0] if len(parts) > 1 else None
