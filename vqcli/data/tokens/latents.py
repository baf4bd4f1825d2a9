"""Latents that were encoded: what stands beside them, and rows of them to train on.

They lie as tokens do, in a folder of shards: ``latents-00000.safetensors`` holds ``latents`` (n, D, h, w).
Shape letters: n images, B images of a batch, D width, h, w sides of latents.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcli import files
from vqcli.data.tokens.rows import Listed, RowBatch, Rows
from vqcli.data.tokens.store import (
    AGAIN,
    Of,
    Positive,
    read_index,
    read_info,
    read_shard,
    recorded,
    shard_files,
    write_array,
)
from vqcli.errors import VqcliError


@dataclass(frozen=True)
class LatentsInfo:
    """What latents are of: written beside them, and needed to train on them."""

    OF: ClassVar[Of] = "latents"
    width: Positive
    """Channels D."""
    sides: tuple[Positive, Positive]
    """(h, w)."""
    dtype: str
    """``float16`` or ``float32``."""
    fingerprint: str
    """Of the tokenizer that made them."""
    preprocessing: str
    """How images came to the tokenizer's size."""
    views: Positive = 1
    """Rows of an image, which follow each other."""
    classes: tuple[str, ...] = ()
    """Name of every label; empty where nobody told them."""
    keep: tuple[str, ...] = ()
    """Fields that are kept of the images that have them."""

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return recorded(self) | {"sides": list(self.sides), "classes": list(self.classes)}


def write_latents(
    folder: Path, shard: int, lines: list[dict[str, Any]], rows: list[np.ndarray], info: LatentsInfo
) -> None:
    """Write a shard: a line per input, and the latents (D, h, w) of those that were encoded.

    Raises VqcliError where the number format does not reach to them.
    """
    none = np.zeros((0, info.width, *info.sides), info.dtype)
    with np.errstate(over="ignore"):
        latents = np.stack(rows).astype(info.dtype) if rows else none
    if not np.isfinite(latents).all():
        message = f"latents do not fit into {info.dtype}"
        raise VqcliError(message, hint="--latents float32", reason="not-finite")
    write_array(folder, shard, lines, latents, "latents")


@dataclass(frozen=True)
class LatentBatch(RowBatch):
    """Latents of some images."""

    values: Tensor
    """float32 (B, D, h, w)."""


class LatentRows(Rows):
    """The latents of images, all of one size, by index, through memory maps."""

    def __init__(self, info: LatentsInfo, shards: list[np.ndarray], listed: Listed) -> None:
        """``shards`` have a row for every view, those of an image together."""
        super().__init__(listed)
        self.info, self._shards = info, shards
        self._ends = np.cumsum([len(shard) for shard in shards])

    def latents(self, indices: np.ndarray, views: np.ndarray) -> NDArray[np.float32]:
        """Of image ``indices[b]`` the view ``views[b]``, (B, D, h, w)."""
        rows = indices * self.views + views
        shards = np.searchsorted(self._ends, rows, side="right")
        within = rows - np.concatenate([[0], self._ends])[shards]
        return np.stack([self._shards[k][i] for k, i in zip(shards, within)]).astype(np.float32)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> LatentBatch:
        labels, keys = torch.from_numpy(self.labels[indices]), [self.key(i) for i in indices.tolist()]
        return LatentBatch(labels, keys, values=torch.from_numpy(self.latents(indices, views)))


def open_latent_rows(path: Path) -> LatentRows:
    """The latents of a folder; every shard is read once and checked. Raises VqcliError if it is damaged."""
    info, index = read_info(path, LatentsInfo), read_index(path)
    keys: list[str] = []
    labels: list[int | None] = []
    shards = []
    for k in range(index["shards"]):
        lines, latents = read_shard(path, k, "latents")
        rows = [line for line in lines if line["status"] == "ok"]
        if len(rows) != len(latents) or len(rows) % info.views:
            message = f"{path}: shard {k} has {len(latents):,} rows for {len(rows):,} lines"
            raise VqcliError(message, hint=AGAIN, reason="damaged")
        keys += [line["key"] for line in rows[:: info.views]]
        labels += [line["label"] for line in rows[:: info.views]]
        if len(latents):
            shards.append(_mapped(shard_files(path, k, "latents")[1], latents))
    digest = hashlib.sha256(json.dumps(index["sha256"], sort_keys=True).encode()).hexdigest()
    return LatentRows(info, shards, Listed(keys, labels, info.views, digest))


def _mapped(path: Path, latents: np.ndarray) -> np.ndarray:
    """The array of a shard, which was read before, through a memory map."""
    with files.open_regular(path) as file:
        start = 8 + int.from_bytes(file.read(8), "little")  # a header of so many bytes, then the one array
        return np.memmap(file, latents.dtype, "r", start, latents.shape)
