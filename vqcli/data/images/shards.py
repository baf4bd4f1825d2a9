"""What sources of shard files share: which files are theirs, unique keys, and where an index falls."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from vqcli.data.images.base import Names, Source
from vqcli.data.images.splits import by_file_name, by_first_folder, check_split, present
from vqcli.data.location import Location, location, suffix_of
from vqcli.errors import VqcliError
from vqcli.parts import PARTS
from vqcli.registry import resolve
from vqcli.types import Reading

ANYHOW = Reading()


class ShardSource(Source):
    """Images in files of a kind of their own, many in each; what names such files names their images."""

    SUFFIX: ClassVar[str]
    """How the files' names end, in small letters."""
    IN_FOLDERS: ClassVar[bool] = True
    """Whether a folder that holds such files stands for them; it may then hold many."""

    @abstractmethod
    def __init__(self, files: Sequence[Location], reading: Reading = ANYHOW) -> None: ...

    @classmethod
    def claims(cls, text: str) -> bool:
        place = location(text)
        return place.suffix == cls.SUFFIX and place.holds_file()

    @classmethod
    def open(cls, text: str, reading: Reading) -> Source:
        return cls.of_files([location(text)], [text], reading, text)

    @classmethod
    def of_files(cls, files: Sequence[Location], names: Sequence[str], reading: Reading, text: str) -> Source:
        """The images of ``files``, which ``text`` named; of a split alone where ``names`` tell splits.

        Raises VqcliError where files of another kind are among them.
        """
        kinds = {suffix_of(name) for name in names}
        if kinds != {cls.SUFFIX}:
            message = f"{text} mixes {' and '.join(sorted(kinds))} files"
            raise VqcliError(message, hint="name one kind: 'folder/*.tar'", reason="input-mixed")
        splits = by_file_name(names) or by_first_folder(names)
        known = present(splits)
        if reading.split and splits:
            wanted = check_split(reading.split, known, text)
            files = [file for file, its in zip(files, splits) if its == wanted]
        source = cls(files, reading)
        source.splits = known
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


def shard_names(files: Sequence[Location]) -> list[str]:
    """Distinct short names of shards: their paths below the folder they share, without the ending."""
    paths = [Path(str(file)) for file in files]
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return [path.relative_to(common).with_suffix("").as_posix() for path in paths]


def unique_keys(files: Sequence[Location], keys: list[list[str]]) -> Names:
    """The keys of all shards' images; all take their shard's name in front if two are the same."""
    flat = [key for shard in keys for key in shard]
    if len(set(flat)) < len(flat):
        flat = [f"{name}/{key}" for name, shard in zip(shard_names(files), keys) for key in shard]
    return Names(flat)


class Places:
    """Where an index over all shards falls."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.ends = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, i: int) -> tuple[int, int]:
        """(shard, position in it) of item ``i``."""
        shard = int(np.searchsorted(self.ends, i, side="right"))
        return shard, int(i - (self.ends[shard - 1] if shard else 0))
