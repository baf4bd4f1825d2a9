"""What sources of shard files share: which files are theirs, unique keys, and where an index falls."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePath
from typing import ClassVar

import numpy as np

from vqcli.data.images.base import Source, Told
from vqcli.data.images.labels import FOLDER
from vqcli.data.images.splits import (
    SPLITS,
    by_file_name,
    by_first_folder,
    check_split,
    is_split,
    present,
    split_name,
)
from vqcli.data.location import Location, location, suffix_of
from vqcli.errors import VqcliError
from vqcli.parts import PARTS
from vqcli.registry import resolve
from vqcli.types import ANYHOW, Reading

SHOWN = 4
"""Folders that a sentence names."""


class ShardSource(Source):
    """Images in files of a kind of their own, many in each; what names such files names their images."""

    SUFFIX: ClassVar[str]
    """How the files' names end, in small letters."""
    IN_FOLDERS: ClassVar[bool] = True
    """Whether a folder that holds such files stands for them; it may then hold many."""

    @abstractmethod
    def __init__(
        self, files: Sequence[Location], reading: Reading = ANYHOW, names: Sequence[str] = ()
    ) -> None:
        """``names`` stand before the keys of each file's images; those of the files where there are none."""

    @classmethod
    def claims(cls, text: str) -> bool:
        place = location(text)
        return place.suffix == cls.SUFFIX and place.holds_file()

    @classmethod
    def open(cls, text: str, reading: Reading) -> Source:
        return cls.of_files([location(text)], [text], reading, text, text.removesuffix(PurePath(text).name))

    @classmethod
    def of_files(
        cls, files: Sequence[Location], names: Sequence[str], reading: Reading, text: str, above: str = ""
    ) -> Source:
        """The images of ``files``, which ``text`` named; of a split alone where ``names`` tell splits.

        All names begin with ``above``, which is no part of keys. Raises VqcliError where files of another
        kind are among them.
        """
        kinds = {suffix_of(name) for name in names}
        if kinds != {cls.SUFFIX}:
            message = f"{text} mixes {' and '.join(sorted(kinds))} files"
            raise VqcliError(message, hint="name one kind: 'folder/*.tar'", reason="input-mixed")
        splits = by_file_name(names) or by_first_folder(names)
        known, below = present(splits), shard_names(names, above)
        if reading.split and splits:
            wanted = check_split(reading.split, known, text)
            chosen = [i for i, its in enumerate(splits) if its == wanted]
            files, below = [files[i] for i in chosen], [below[i] for i in chosen]
        source = cls(files, reading, below)
        source.splits = known
        source.told += Told({}, tuple(_several_folders(below)))
        without = [name for name, its in zip(names, splits or ()) if its is None]
        if without:
            which = without[0] if len(without) == 1 else f"{without[0]} and {len(without) - 1:,} more"
            source.told += Told({}, (f"{which}: of no split, read only where none is asked for",))
        return source


def shard_sources() -> list[type[ShardSource]]:
    """The registered sources of shards."""
    found = [resolve("sources", name) for name in PARTS["sources"]]
    return [kind for kind in found if issubclass(kind, ShardSource)]


def shards_in_folders() -> frozenset[str]:
    """Suffixes of the files that are looked for in folders."""
    return frozenset(kind.SUFFIX for kind in shard_sources() if kind.IN_FOLDERS)


def reader_of(names: Collection[str]) -> type[ShardSource] | None:
    """The source that reads shards among files of these names; None where there are none."""
    suffixes = {suffix_of(name) for name in names}
    found = [kind for kind in shard_sources() if kind.SUFFIX in suffixes]
    return min(found, key=lambda kind: not kind.IN_FOLDERS, default=None)


def shard_names(names: Sequence[str], above: str = "") -> list[str]:
    """What stands before the keys of shards: their paths below ``above``, without the ending.

    In capitals that stays: there may be ``a.tar`` and ``a.TAR``.
    """
    split = [os.path.splitext(name.removeprefix(above)) for name in names]  # noqa: PTH122 (as suffix_of)
    return [start if ending.islower() else start + ending for start, ending in split]


def folder_of(name: str) -> str | None:
    """The first folder of a name that is no split."""
    folders = name.split("/")[:-1]
    if folders and split_name(folders[0]) in SPLITS:
        folders = folders[1:]
    return folders[0] if folders else None


def offered(names: Iterable[str]) -> list[str]:
    """A sentence on the folders of images without labels, where there are several."""
    folders = {folder_of(name) for name in names}
    if len(folders) < 2:
        return []
    taken = f"--label-column {FOLDER} takes the {len(folders):,} folders that they lie in"
    return [f"images have no labels; {taken}"]


def _several_folders(names: Sequence[str]) -> list[str]:
    """A sentence where shards lie in several folders that are no splits: subsets, or versions of one set."""
    heads = {name.rpartition("/")[0] for name in names}
    folders = sorted({"/".join(part for part in head.split("/") if not is_split(part)) for head in heads})
    if len(folders) < 2:
        return []
    some = ", ".join(folder or "the top one" for folder in folders[:SHOWN])
    return [
        f"shards lie in {len(folders):,} folders ({some}{', ...' if folders[SHOWN:] else ''}): all are read"
    ]


class Places:
    """Where an index over all shards falls."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.ends = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitem__(self, i: int) -> tuple[int, int]:
        """(shard, position in it) of item ``i``."""
        shard = int(np.searchsorted(self.ends, i, side="right"))
        return shard, int(i - (self.ends[shard - 1] if shard else 0))
