"""Batches of images, the same for any number of worker processes, and from any batch onward.

The order of an epoch is a pure function of seed and epoch, the augmentation of an image one of seed, epoch
and index: nothing needs to be saved to resume but the number of the next batch.
Shape letters: B images of a batch, H, W sides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vqcli import files
from vqcli.data.images.base import Source
from vqcli.data.workers import FEWER, loaded
from vqcli.errors import BadImage, VqcliError
from vqcli.pixels import TooSmall, Transform, planes
from vqcli.types import Sample

ORDER, AUGMENT, VIEW = 0, 1, 2
"""What a random stream is for; two purposes never share one."""
EMPTY = torch.empty(0, dtype=torch.uint8)
"""Pixels of no images."""


@dataclass(frozen=True)
class Batch:
    """Some images of a source. Those that could not be used are left out and listed, never replaced."""

    images: list[Tensor]
    """uint8 (3, H, W) each."""
    labels: Tensor
    """int64 (B,), -1 where unknown."""
    keys: list[str]
    extras: list[Mapping[str, Any]]
    """What is kept of each image."""
    indices: list[int]
    """Of the images, in the source."""
    rejected: list[BadImage]
    all_indices: list[int]
    """Of everything that was asked for, in order, rejected ones included."""

    def __len__(self) -> int:
        return len(self.images)

    def stacked(self) -> Tensor:
        """All images as uint8 (B, 3, H, W); they must be of one size."""
        return torch.stack(self.images)

    def by_size(self) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Numbers in the source (B,) and uint8 images (B, 3, H, W), those of one size together."""
        positions: dict[torch.Size, list[int]] = {}
        for position, image in enumerate(self.images):
            positions.setdefault(image.shape, []).append(position)
        for some in positions.values():
            yield np.array([self.indices[p] for p in some]), torch.stack([self.images[p] for p in some])


@dataclass(frozen=True)
class TrainPlan:
    """What decides the training batches of one process."""

    seed: int
    batch_size: int
    """Images a batch, of this process."""
    rank: int = 0
    world: int = 1
    num_workers: int = 0
    """Worker processes; 0 loads in this one. Batches do not depend on it."""


def data_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order of ``n`` items in an epoch, int64: a pure function, the same on every machine."""
    bits = np.random.Philox(np.random.SeedSequence([ORDER, seed, epoch])).random_raw(n)
    return np.argsort(bits, kind="stable")


def batches_per_epoch(n: int, plan: TrainPlan) -> int:
    """Whole batches that ``n`` images make when all processes share them."""
    return n // (plan.batch_size * plan.world)


def train_batches(
    source: Source, indices: np.ndarray, transform: Transform, plan: TrainPlan, start: int = 0
) -> Iterator[Batch]:
    """Endless training batches of this process, from batch number ``start`` (over all epochs) onward.

    Raises VqcliError if a shard turns out damaged, the machine fails or workers die.
    """
    wishes = train_wishes(indices, plan, start)
    return _load(_Loading(source, transform, plan.seed), wishes, plan.num_workers)


def eval_batches(
    source: Source, indices: np.ndarray, transform: Transform, batch_size: int, num_workers: int = 0
) -> Iterator[Batch]:
    """Every image once, in order; nothing padded or dropped. Raises VqcliError as ``train_batches`` does."""
    starts = range(0, len(indices), batch_size)
    wishes = ((0, indices[at : at + batch_size]) for at in starts)
    return _load(_Loading(source, transform, 0), wishes, min(num_workers, len(starts)))


Wish = tuple[int, np.ndarray]
"""Epoch and indices of a batch."""


def train_wishes(indices: np.ndarray, plan: TrainPlan, start: int) -> Iterator[Wish]:
    """What an endless training takes, batch by batch, from batch number ``start`` onward.

    Raises ValueError where ``indices`` do not fill one batch of every process.
    """
    if not batches_per_epoch(len(indices), plan):
        raise ValueError(f"{len(indices)} images do not fill a batch of {plan.batch_size} x {plan.world}")
    return _wishes(indices, plan, start)


def _wishes(indices: np.ndarray, plan: TrainPlan, start: int) -> Iterator[Wish]:
    per_epoch, size = batches_per_epoch(len(indices), plan), plan.batch_size
    for epoch in itertools.count(start // per_epoch):
        mine = indices[data_order(plan.seed, epoch, len(indices))[plan.rank :: plan.world]]
        for batch in range(start % per_epoch if epoch == start // per_epoch else 0, per_epoch):
            yield epoch, mine[batch * size : (batch + 1) * size]


@dataclass(frozen=True)
class _Packed:
    """A batch as it travels between processes: one tensor, not one an image."""

    pixels: Tensor
    sizes: list[tuple[int, int]]
    labels: list[int]
    keys: list[str]
    extras: list[Mapping[str, Any]]
    indices: list[int]
    rejected: list[BadImage]
    all_indices: list[int]

    def unpack(self) -> Batch:
        """The batch, its images views of the one tensor."""
        flat = self.pixels.split([3 * h * w for h, w in self.sizes])
        images = [pixels.view(3, h, w) for pixels, (h, w) in zip(flat, self.sizes)]
        labels = torch.tensor(self.labels, dtype=torch.int64)
        return Batch(images, labels, self.keys, self.extras, self.indices, self.rejected, self.all_indices)


class _Loading:
    """Wish in, batch out; what runs in the workers."""

    def __init__(self, source: Source, transform: Transform, seed: int) -> None:
        self.source, self.transform, self.seed = source, transform, seed

    def __call__(self, wish: Wish) -> _Packed:
        epoch, indices = wish
        images, sizes, extras, good, rejected = [], [], [], [], []
        for i in indices.tolist():
            try:
                image, sample = self._image(epoch, i)
                images.append(planes(image))
                sizes.append((image.height, image.width))
                extras.append(sample.extras)
                good.append(i)
            except BadImage as e:
                rejected.append(BadImage(e.key, e.reason, e.detail))
        labels = [self.source.label(i) for i in good]
        return _Packed(
            torch.frombuffer(bytearray().join(images), dtype=torch.uint8) if images else EMPTY,
            sizes,
            [-1 if label is None else label for label in labels],
            [self.source.key(i) for i in good],
            extras,
            good,
            rejected,
            indices.tolist(),
        )

    def _image(self, epoch: int, i: int) -> tuple[Image.Image, Sample]:
        """An image, as it is wanted. Raises BadImage; VqcliError for what is the machine's."""
        try:
            sample = files.patiently(lambda: self.source[i])
            stream = partial(np.random.default_rng, [AUGMENT, self.seed, epoch, i])
            return self.transform(sample.image, stream), sample
        except TooSmall as e:
            raise BadImage(self.source.key(i), "too-small", str(e)) from e
        except OSError as e:
            raise files.unread(self.source.key(i), e) from e
        except MemoryError as e:
            message = f"memory lacks to load {self.source.key(i)}"
            raise VqcliError(message, hint=f"use a smaller --batch-size; {FEWER}", reason="memory") from e


def _load(loading: _Loading, wishes: Iterator[Wish], num_workers: int) -> Iterator[Batch]:
    return (packed.unpack() for packed in loaded(loading, wishes, num_workers))
