"""Two sets of images compared one by one: which is whose partner, and how they come to the metrics.

Shape letters: N pairs, B of a batch, H, W sides in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqcli.data.images.base import IMAGE_SUFFIXES, Source, identity
from vqcli.data.loader import Batch
from vqcli.errors import VqcliError
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.jobs.evaluation.work import Given, Pictures, Seen, resized
from vqcli.jobs.file_names import file_names, same_name
from vqcli.metrics.protocols import Protocol
from vqcli.pixels import NativeCrop, normalize, to_uint8

Name = Callable[[str], str]
"""Key of an image -> what its partner shares with it."""


@dataclass(frozen=True)
class Matched:
    """Which images of two sets belong together."""

    pairs: np.ndarray
    """int64 (N, 2): numbers in the set that is measured and in its reference, in the order of the former."""
    alone: tuple[list[str], list[str]]
    """Keys without a partner, of each set."""
    how: str = "pairs of the same path"
    """What partners share, in words."""


def match(samples: Source, references: Source) -> Matched:
    """Pairs of images with the same path, whatever format they have; else, if there is none, the same name.

    One image and one other are a pair, whatever they are called.

    Names with escapes, as ``vqcli decode`` writes them, are those of the keys that they stand for. Where
    several images could be meant, none is. Raises VqcliError where no two belong together.
    """
    own, theirs = ([source.key(i) for i in range(len(source))] for source in (samples, references))
    pairs = _pairs(own, theirs, _path, _path)
    left = [i for i in range(len(own)) if i not in pairs]
    taken = set(pairs.values())
    spare = [j for j in range(len(theirs)) if j not in taken]
    written = _pairs([own[i] for i in left], [theirs[j] for j in spare], _path, _written)
    pairs |= {left[i]: spare[j] for i, j in written.items()}
    how = Matched.how
    if len(own) == len(theirs) == 1:
        pairs, how = {0: 0}, "the one image of each"
    elif not pairs:
        pairs, how = _pairs(own, theirs, _stem, _stem), "pairs of the same name, in any folder"
    if not pairs:
        message = f"no image shares a name with one of --images: {own[0]} ... and {theirs[0]} ..."
        raise VqcliError(
            message, hint="partners have the same path or name, but for .jpg, .png", reason="input-missing"
        )
    known = set(pairs.values())
    alone = (
        [k for i, k in enumerate(own) if i not in pairs],
        [k for j, k in enumerate(theirs) if j not in known],
    )
    return Matched(np.array(sorted(pairs.items()), np.int64), alone, how)


def _pairs(own: Sequence[str], theirs: Sequence[str], name: Name, other: Name) -> dict[int, int]:
    """Numbers of images whose names are the same and nobody else's; of several, if all keys are the same."""
    groups: dict[str, tuple[list[int], list[int]]] = {}
    for side, (keys, named) in enumerate(((own, name), (theirs, other))):
        for i, key in enumerate(keys):
            groups.setdefault(named(key), ([], []))[side].append(i)
    pairs: dict[int, int] = {}
    for mine, yours in groups.values():
        if len(mine) == len(yours) == 1:
            pairs[mine[0]] = yours[0]
        elif {own[i] for i in mine} == {theirs[j] for j in yours}:
            place = {theirs[j]: j for j in yours}
            pairs |= {i: place[own[i]] for i in mine}
    return pairs


def _path(key: str) -> str:
    path = PurePosixPath(key)
    return same_name(str(path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path))


def _written(key: str) -> str:
    """The path under which ``vqcli decode`` and ``reconstruct`` write an image."""
    return _path(next(file_names(key)))


def _stem(key: str) -> str:
    return PurePosixPath(_path(key)).name


class Pairs(Pictures):
    """Images and their partners, as they lie there."""

    what, compares = "compare", True

    def __init__(
        self,
        samples: Source,
        references: Source,
        options: EvaluateOptions,
        protocol: Protocol,
        device: torch.device,
    ) -> None:
        """Raises VqcliError where no two images belong together."""
        super().__init__(samples, NativeCrop(1), options, options.limit)
        self.theirs = Given(references, "reference", options)
        self.matched = match(samples, references)
        self.count = min(len(self.matched.pairs), options.limit or len(samples))
        self.protocol, self.device = protocol, device

    def key(self, i: int) -> str:
        return self.source.key(int(self.matched.pairs[i, 0]))

    def plan(self) -> dict[str, Any]:
        """Keys of both, pair by pair."""
        pairs = self.matched.pairs[: self.count]
        own = identity(f"{self.source.key(i)}\n{self.theirs.source.key(j)}" for i, j in pairs.tolist())
        return own | self.options.reading().record()

    def batches(self, items: np.ndarray) -> Iterator[Seen]:
        at, pairs = 0, self.matched.pairs[items]
        for own, theirs in zip(self.loaded(pairs[:, 0]), self.theirs.loaded(pairs[:, 1])):
            here = items[at : at + len(own.all_indices)]
            at += len(here)
            yield self._seen(here, own, theirs)

    def _seen(self, items: np.ndarray, own: Batch, theirs: Batch) -> Seen:
        seen = Seen(len(items))
        mine, yours = (dict(zip(batch.indices, batch.images)) for batch in (own, theirs))
        bad = {image.key: image for image in (*theirs.rejected, *own.rejected)}
        together: dict[torch.Size, list[tuple[int, tuple[Tensor, Tensor]]]] = {}
        for item in items.tolist():
            i, j = self.matched.pairs[item].tolist()
            if i in mine and j in yours:
                pair = self._alike(item, mine[i], yours[j])
                together.setdefault(pair[0].shape, []).append((item, pair))
            else:
                keys = (self.source.key(i), self.theirs.source.key(j))
                seen.rejected.append(next(bad[key] for key in keys if key in bad))
        for some in together.values():
            numbers = np.array([item for item, _ in some])
            sample, reference = (torch.stack([pair[side] for _, pair in some]) for side in (0, 1))
            seen.pairs.append((numbers, normalize(reference), normalize(sample)))
            if self.as_sets:
                seen.sets += [("sample", numbers, sample), ("reference", numbers, reference)]
        return seen

    def _alike(self, item: int, sample: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """A pair, uint8 (3, H, W), of one size. Raises VqcliError where they are of two."""
        sample, reference = sample.to(self.device), reference.to(self.device)
        if size := self.options.eval_size:
            saved = self.protocol.saved
            made = (to_uint8(resized(normalize(x[None]), size), saved)[0] for x in (sample, reference))
            return next(made), next(made)
        if sample.shape != reference.shape:
            sizes = ["x".join(map(str, image.shape[1:])) for image in (sample, reference)]
            partner = self.theirs.source.key(int(self.matched.pairs[item, 1]))
            message = f"{self.key(item)} has {sizes[0]} pixels, its partner {partner} {sizes[1]}"
            raise VqcliError(message, hint="--eval-size N or HxW brings both to one size", reason="size")
        return sample, reference
