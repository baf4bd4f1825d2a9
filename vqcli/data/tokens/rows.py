"""Tokens, or latents, as generators read them: images by index, one view of each at a time, in batches.

What a batch holds is a pure function of seed and batch number, as for images: the order of an epoch is
``loader.data_order``, and the view that it takes of an image one of seed, epoch and the image's number.
Shape letters: n images, B images of a batch, L tokens an image.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcli.data.loader import VIEW, TrainPlan, Wish, train_wishes
from vqcli.data.strings import Names
from vqcli.data.tokens.files import TokensFile, TokensFolder, check_range, open_tokens
from vqcli.data.tokens.store import TokensInfo, read_shard, token_type
from vqcli.errors import BadImage, VqcliError
from vqcli.types import Grid, grid_length

AGAIN = "copy it again, or encode again"


@dataclass(frozen=True)
class Listed:
    """What is told of images, beside their tokens or latents."""

    keys: Iterable[str] | None
    """Of their first rows; None where nobody told them."""
    labels: Iterable[int | None]
    views: int
    """Rows of an image, which follow each other."""
    digest: str
    """Tells whether they are the same as before; empty where nobody wrote a hash down."""


@dataclass(frozen=True)
class RowBatch:
    """Some images of rows."""

    labels: Tensor
    """int64 (B,), -1 where unknown."""
    keys: list[str]

    rejected: ClassVar[tuple[BadImage, ...]] = ()
    """None: what could not be used was left out when the images were encoded."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TokenBatch(RowBatch):
    """Tokens of some images."""

    ids: Tensor
    """int64 (B, L)."""


class Rows(ABC):
    """Images by index, as tokens or latents, one view of each at a time."""

    def __init__(self, listed: Listed) -> None:
        self.views, self.digest = listed.views, listed.digest
        ending = "#0" if self.views > 1 else ""
        self._keys = Names(key.removesuffix(ending) for key in listed.keys) if listed.keys else None
        labels = (-1 if label is None else label for label in listed.labels)
        self.labels: NDArray[np.int64] = np.fromiter(labels, np.int64)
        """(n,), -1 where unknown."""

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, i: int) -> str:
        """Unique name of image ``i``."""
        return self._keys[i] if self._keys else f"{i:06d}"

    @abstractmethod
    def batch(self, indices: np.ndarray, views: np.ndarray) -> RowBatch:
        """Of image ``indices[b]`` the view ``views[b]``."""


class TokenRows(Rows):
    """The tokens of images, all of one grid, by index."""

    def __init__(self, info: TokensInfo, grid: Grid, ids: np.ndarray, listed: Listed) -> None:
        """``ids`` has a row for every view, those of an image together."""
        super().__init__(listed)
        self.info, self.grid, self._ids = info, grid, ids

    def tokens(self, indices: np.ndarray, views: np.ndarray) -> NDArray[np.int64]:
        """Of image ``indices[b]`` the view ``views[b]``, (B, L)."""
        return self._ids[indices * self.views + views].reshape(len(indices), -1).astype(np.int64)

    def batch(self, indices: np.ndarray, views: np.ndarray) -> TokenBatch:
        labels, keys = torch.from_numpy(self.labels[indices]), [self.key(i) for i in indices.tolist()]
        return TokenBatch(labels, keys, ids=torch.from_numpy(self.tokens(indices, views)))


def open_token_rows(path: Path) -> TokenRows:
    """The tokens of a file, through a memory map, or of a folder, in memory; every token is checked.

    Raises VqcliError if they are damaged, out of range, of different grids, or nobody says of what they are.
    """
    found = open_tokens(path)
    if found.info is None:
        raise VqcliError(
            f"{path} does not say which tokenizer made it",
            hint=f"write its codebook_size, fingerprint and preprocessing to {path.stem}.json",
            reason="no-info",
        )
    return _of_folder(found, found.info) if isinstance(found, TokensFolder) else _of_file(found, found.info)


def _of_file(found: TokensFile, info: TokensInfo) -> TokenRows:
    grid, start = found.layout(), 0
    _check_views(found.path, len(found), info.views)
    for block in found.blocks():
        check_range(found.path, block, start, info.codebook_size, AGAIN)
        start += len(block)
    views, digest = info.views, found.side.get("sha256", "")
    keys, labels = (islice(found.column(name), 0, None, views) for name in ("keys", "labels"))
    listed = Listed(keys if "keys" in found.side else None, labels, views, digest)
    return TokenRows(info, grid, np.asarray(found.array), listed)


def _of_folder(found: TokensFolder, info: TokensInfo) -> TokenRows:
    if found.grid is None:
        raise VqcliError(
            f"{found.path} holds images of different grids",
            hint="encode them at one --size to train on them",
            reason="grid",
        )
    ids = np.empty((len(found), grid_length(found.grid)), token_type(info.codebook_size))
    keys: list[str] = []
    labels: list[int | None] = []
    at = 0
    for shard in range(found.index["shards"]):
        lines, tokens = read_shard(found.path, shard)
        rows = [line for line in lines if line["status"] == "ok"]
        _check_views(found.path, len(rows), info.views)
        if tokens.size != len(rows) * ids.shape[1] or at + len(rows) > len(ids):
            raise _misfit(found.path)
        tokens = tokens.reshape(len(rows), ids.shape[1])
        check_range(found.path, tokens, at, info.codebook_size, AGAIN)
        ids[at : at + len(rows)] = tokens
        at += len(rows)
        keys += [line["key"] for line in rows[:: info.views]]
        labels += [line["label"] for line in rows[:: info.views]]
    if at != len(ids):
        raise _misfit(found.path)
    digest = hashlib.sha256(json.dumps(found.index["sha256"], sort_keys=True).encode()).hexdigest()
    return TokenRows(info, found.grid, ids, Listed(keys, labels, info.views, digest))


def _misfit(path: Path) -> VqcliError:
    return VqcliError(f"{path}: shards and index.json do not tell the same", hint=AGAIN, reason="damaged")


def _check_views(path: Path, rows: int, views: int) -> None:
    if rows % views:
        message = f"{path} has {rows:,} rows, which are no whole images of {views} views"
        raise VqcliError(message, hint=AGAIN, reason="damaged")


def row_batches(rows: Rows, indices: np.ndarray, plan: TrainPlan, start: int = 0) -> Iterator[RowBatch]:
    """Endless training batches of this process, from batch number ``start`` (over all epochs) onward.

    Raises ValueError where ``indices`` do not fill one batch of every process.
    """
    return _draw(rows, train_wishes(indices, plan, start), plan.seed)


def row_eval_batches(rows: Rows, indices: np.ndarray, batch_size: int) -> Iterator[RowBatch]:
    """One view of every image, in order: of ten crops the centre, else the first; none padded or dropped."""
    view = max(0, rows.views // 2 - 1)
    for at in range(0, len(indices), batch_size):
        some = indices[at : at + batch_size]
        yield rows.batch(some, np.full_like(some, view))


def view_choice(seed: int, epoch: int, n: int, views: int) -> NDArray[np.int64]:
    """The view of each of ``n`` images in an epoch, (n,): all are equally likely.

    Image ``i`` has the ``i``-th number of a Philox stream of its own for seed and epoch, whatever ``n`` is.
    """
    bits = np.random.Philox(np.random.SeedSequence([VIEW, seed, epoch])).random_raw(n)
    return (bits % np.uint64(views)).astype(np.int64)


def _draw(rows: Rows, wishes: Iterator[Wish], seed: int) -> Iterator[RowBatch]:
    drawn, choice = -1, np.empty(0, np.int64)
    for epoch, indices in wishes:
        if epoch != drawn:
            drawn, choice = epoch, view_choice(seed, epoch, len(rows), rows.views)
        yield rows.batch(indices, choice[indices])
