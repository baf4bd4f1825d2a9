"""The work of an evaluation: stretches of items that become what metrics see.

Shape letters: B images of a batch, L tokens an image, H, W sides in pixels, R guesses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vqcli.data.images.base import Source, identity
from vqcli.data.loader import Batch
from vqcli.errors import BadImage
from vqcli.jobs.devices import pick_device
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.jobs.loading import load_batches
from vqcli.jobs.sampler import Picture, Sampler
from vqcli.metrics.base import Side
from vqcli.metrics.protocols import Protocol
from vqcli.nn.precision import DECODED, autocast, finite
from vqcli.pixels import NativeCrop, Transform, jpeg, normalize, to_uint8
from vqcli.tokenizers.base import Tokenizer
from vqcli.tokenizers.sizes import check_size
from vqcli.types import Grid

BLOCK = 256
"""Items that are worked off together at most: what a process has done is told in blocks."""
LABELS = 4
"""What the stream of random labels is for: ``data.loader`` and ``generators.base`` have 0 to 3."""


@dataclass
class Seen:
    """A batch as metrics see it; images of one size stand together."""

    items: int
    """Worked off, rejected ones included."""
    pairs: list[tuple[np.ndarray, Tensor, Tensor]] = field(default_factory=list)
    """Numbers (B,), images and reconstructions (B, 3, H, W) in [-1, 1]."""
    tokens: list[tuple[np.ndarray, Grid]] = field(default_factory=list)
    """Tokens (B, L)."""
    classes: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    """Classes (B,) and what a classifier takes the images for, (B, R), likeliest first."""
    sets: list[tuple[Side, np.ndarray, Tensor]] = field(default_factory=list)
    """Side, numbers (B,), uint8 images (B, 3, H, W)."""
    rejected: list[BadImage] = field(default_factory=list)


class Stretch(ABC):
    """Some items of one kind; each becomes part of a ``Seen``, whoever works on it and whenever."""

    what: str
    """What is done, in a word, for a progress bar."""
    compares: ClassVar[bool] = False
    """Whether images are shown in pairs, for metrics that compare one by one."""
    classifies: ClassVar[bool] = False
    """Whether a classifier is asked for the classes of images."""
    as_sets: bool = True
    """Whether anything looks at what is compared as two sets."""
    count: int
    per_block: int

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.count // self.per_block)

    def block(self, k: int) -> np.ndarray:
        """Items of block ``k``."""
        return np.arange(k * self.per_block, min((k + 1) * self.per_block, self.count))

    @abstractmethod
    def batches(self, items: np.ndarray) -> Iterator[Seen]:
        """Work through items in order, within blocks. Raises BadImage if strict."""

    @abstractmethod
    def plan(self) -> dict[str, Any]:
        """What decides the outcome, as JSON values."""


class Pictures(Stretch):
    """Images of a source, as they come out of a transform."""

    def __init__(
        self, source: Source, transform: Transform, options: EvaluateOptions, limit: int | None
    ) -> None:
        self.source, self.transform, self.options = source, transform, options
        self.device = pick_device(options.device)
        self.count = min(len(source), limit or len(source))
        self.per_block = options.batch_size * max(1, BLOCK // options.batch_size)

    def key(self, i: int) -> str:
        """Name of item ``i``."""
        return self.source.key(i)

    def loaded(self, items: np.ndarray) -> Iterator[Batch]:
        """Batches of the images. Raises BadImage if strict."""
        options = self.options
        return load_batches(self.source, items, self.transform, options.batch_size, options, self.device)

    def plan(self) -> dict[str, Any]:
        keys = identity(self.source.key(i) for i in range(self.count))
        return keys | self.options.reading().record()


class Given(Pictures):
    """Images that lie there, each at its own size: one side of a comparison of sets."""

    def __init__(
        self, source: Source, side: Side, options: EvaluateOptions, limit: int | None = None
    ) -> None:
        super().__init__(source, NativeCrop(1), options, limit)
        self.side, self.what = side, side

    def batches(self, items: np.ndarray) -> Iterator[Seen]:
        for batch in self.loaded(items):
            sets = [(self.side, indices, images) for indices, images in batch.by_size()]
            yield Seen(len(batch.all_indices), sets=sets, rejected=batch.rejected)


class Reconstructions(Pictures):
    """Images, and what a tokenizer makes of them."""

    what, compares = "reconstruct", True

    def __init__(
        self,
        source: Source,
        transform: Transform,
        options: EvaluateOptions,
        tokenizer: Tokenizer,
        protocol: Protocol,
    ) -> None:
        super().__init__(source, transform, options, options.limit)
        self.tokenizer, self.protocol = tokenizer, protocol
        self.device = tokenizer.last_layer.device

    def batches(self, items: np.ndarray) -> Iterator[Seen]:
        for batch in self.loaded(items):
            seen = Seen(len(batch.all_indices), rejected=batch.rejected)
            for indices, images in batch.by_size():
                self._reconstruct(indices, images.to(self.device), seen)
            yield seen

    @torch.inference_mode()
    def _reconstruct(self, indices: np.ndarray, images: Tensor, seen: Seen) -> None:
        """Add images of one size, uint8 (B, 3, H, W)."""
        protocol, original = self.protocol, normalize(images)
        check_size(self.tokenizer, *images.shape[2:])
        with autocast(self.options.precision, self.device):
            made, tokens = self.tokenizer.roundtrip(original)
        made = finite(made.float(), DECODED)
        if tokens:
            seen.tokens.append((tokens.ids.cpu().numpy(), tokens.grid))
        if size := self.options.eval_size:
            original, made = resized(original, size), resized(made, size)
            images = to_uint8(original, protocol.saved)
        compared = protocol.compared
        rounded = made if compared == "none" else normalize(to_uint8(made, compared))
        seen.pairs.append((indices, original, rounded))
        if self.as_sets:
            saved = to_uint8(made, protocol.saved)
            seen.sets.append(("sample", indices, jpeg(saved) if "reconstruction" in protocol.jpeg else saved))
            if not protocol.whole_reference:
                cut = jpeg(images) if "reference" in protocol.jpeg else images
                seen.sets.append(("reference", indices, cut))


class Samples(Stretch):
    """Images that a generator makes."""

    what = "generate"

    def __init__(self, sampler: Sampler, options: EvaluateOptions, protocol: Protocol) -> None:
        self.sampler, self.count, self.protocol = sampler, options.samples, protocol
        self.size = options.eval_size
        self.per_block = sampler.rows * max(1, BLOCK // sampler.rows)
        classes = sampler.generator.config.classes
        self.pictures = draw_pictures(self.count, classes, protocol.labels, sampler.options.seed)

    def batches(self, items: np.ndarray) -> Iterator[Seen]:
        chosen = [self.pictures[i] for i in items.tolist()]
        at = 0
        for some, made in self.sampler.batches(chosen):
            images = self.sampler.decode(made)[: len(some)]
            saved = to_uint8(resized(images, self.size) if self.size else images, self.protocol.made)
            saved = jpeg(saved) if "sample" in self.protocol.jpeg else saved
            yield Seen(len(some), sets=[("sample", items[at : at + len(some)], saved)])
            at += len(some)

    def plan(self) -> dict[str, Any]:
        own = {"samples": self.count, "labels": self.protocol.labels, "rows": self.sampler.rows}
        return own | self.sampler.settings


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] at another size, bicubic and not antialiased, as LlamaGen does it."""
    return F.interpolate(images, size, mode="bicubic")


def draw_pictures(count: int, classes: int, how: str, seed: int) -> list[Picture]:
    """Which image of which class each sample is: classes drawn at random, or one after the other."""
    labels = np.arange(count) % classes
    if how == "random":
        labels = np.random.default_rng([LABELS, seed]).integers(classes, size=count)
    made: dict[int, int] = {}
    pictures = []
    for label in labels.tolist():
        made[label] = made.get(label, -1) + 1
        pictures.append(Picture(label, made[label]))
    return pictures
