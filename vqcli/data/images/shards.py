"""What sources of many shard files share: keys that are unique across them, and where an index falls."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vqcli.data.images.base import Names


def shard_names(paths: Sequence[Path]) -> list[str]:
    """Distinct short names of shards: their paths below the folder they share, without the ending."""
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return [path.relative_to(common).with_suffix("").as_posix() for path in paths]


def unique_keys(paths: Sequence[Path], keys: list[list[str]]) -> Names:
    """The keys of all shards' images; all take their shard's name in front if two are the same."""
    flat = [key for shard in keys for key in shard]
    if len(set(flat)) < len(flat):
        flat = [f"{name}/{key}" for name, shard in zip(shard_names(paths), keys) for key in shard]
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
