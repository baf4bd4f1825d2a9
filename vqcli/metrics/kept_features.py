"""Features of images that are kept one by one, and the base of metrics that need them.

Shape letters: B images of a batch, M images kept, D width.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from vqcli.config import PartConfig
from vqcli.metrics.base import SetMetric, Side, State
from vqcli.nn.inception import InceptionFeatures

KEEP = 50_000
"""Images a side whose features are kept: 205 MB at a width of 2,048, and as many samples as papers judge."""


class KeptFeatures:
    """Features in float16, of at most ``most`` images.

    Of more, those whose hash of (seed, index) is smallest: a fair draw from all, the same for any order, size
    of batches and number of processes, also where images lie in the order of their classes. Room for all is
    asked for at once, and the system gives it page by page as rows are written: nothing is copied to grow.
    """

    def __init__(self, most: int, seed: int) -> None:
        self.most, self.seed, self.count = most, seed, 0
        self._indices_m = torch.empty(most, dtype=torch.int64)
        self._rows_md: Tensor | None = None

    @property
    def features(self) -> Tensor:
        """(M, D) float16, in the order in which they came."""
        return torch.empty(0, 0).half() if self._rows_md is None else self._rows_md[: self.count]

    @property
    def indices(self) -> Tensor:
        """(M,): numbers of their images."""
        return self._indices_m[: self.count]

    def add(self, indices_b: Tensor, features_bd: Tensor) -> None:
        """See images (B,) and their features (B, D)."""
        if not len(indices_b):
            return
        if self._rows_md is None:
            self._rows_md = torch.empty(self.most, features_bd.shape[1], dtype=torch.float16)
        free = self.most - self.count
        places_m = torch.arange(self.count, min(self.most, self.count + len(indices_b)))
        self._write(places_m, indices_b[:free], features_bd[:free])
        self.count += len(places_m)
        if len(indices_b) > free:
            self._replace(indices_b[free:], features_bd[free:])

    def _replace(self, indices_b: Tensor, features_bd: Tensor) -> None:
        """Let those come in whose hashes are small, for those with the largest."""
        ranks = _hashes(torch.cat([self._indices_m, indices_b]).numpy(), self.seed)
        small = np.zeros(len(ranks), bool)
        small[np.argpartition(ranks, self.most - 1)[: self.most]] = True
        places_m = torch.from_numpy(np.flatnonzero(~small[: self.most]))
        new_m = torch.from_numpy(np.flatnonzero(small[self.most :]))
        self._write(places_m, indices_b[new_m], features_bd[new_m.to(features_bd.device)])

    def _write(self, places_m: Tensor, indices_m: Tensor, features_md: Tensor) -> None:
        assert self._rows_md is not None
        self._indices_m[places_m] = indices_m
        self._rows_md[places_m] = features_md.detach().half().cpu()


def _hashes(indices: np.ndarray, seed: int) -> np.ndarray:
    """SplitMix64 of each number: no two are equal."""
    start = np.uint64((seed + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    x = indices.astype(np.uint64) + start
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class KeepingConfig(PartConfig):
    """Options of a metric that keeps features."""

    keep: int = Field(KEEP, ge=2)
    """Images a side whose pooled features are kept, in float16; of more, a fair draw that hashes decide."""


class KeepingMetric(SetMetric):
    """Keeps the pooled features of both sides."""

    config: KeepingConfig

    def __init__(self, config: KeepingConfig, seed: int) -> None:
        super().__init__(config)
        self.kept: dict[Side, KeptFeatures] = {
            "reference": KeptFeatures(config.keep, seed),
            "sample": KeptFeatures(config.keep, seed),
        }

    def observe(self, side: Side, indices: np.ndarray, features: InceptionFeatures) -> None:
        self.kept[side].add(torch.from_numpy(indices).long(), features.pool)

    def seen(self) -> dict[Side, int]:
        return {side: kept.count for side, kept in self.kept.items()}

    def state(self) -> State:
        """Of each side ``indices`` (M,) and ``features`` (M, D) float16: views, not copies."""
        found: State = {}
        for side, kept in self.kept.items():
            found |= {f"{side}_indices": kept.indices, f"{side}_features": kept.features}
        return found

    def merge(self, state: State) -> None:
        for side, kept in self.kept.items():
            kept.add(state[f"{side}_indices"], state[f"{side}_features"])
