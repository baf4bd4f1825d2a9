"""Improved precision and recall: how many samples look like references, how many references are covered.

Paper: Kynkäänniemi et al., https://arxiv.org/abs/1904.06991, as ADM's evaluator computes it. Each image has a
ball that reaches to its third nearest neighbour in its own set; precision is the share of samples inside a
reference's ball, recall that of references inside a sample's.
Shape letters: A, B images of two sets, N images of one, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from vqcli.metrics.base import UNLIKE
from vqcli.metrics.kept_features import KeepingConfig, KeepingMetric

USUAL = 10_000
"""Images of the smaller side of ADM's protocol."""
BLOCK = 2048
"""Rows and columns of distances that are held at a time: 17 MB."""


def squared_distances(a_ad: Tensor, b_bd: Tensor) -> Tensor:
    """Squared Euclidean distances (A, B) of float32 vectors, in float32 and never below 0."""
    squares_ab = a_ad.square().sum(1)[:, None] + b_bd.square().sum(1)
    return squares_ab.addmm_(a_ad, b_bd.T, alpha=-2).clamp_(min=0)


def radii(features_nd: Tensor, neighbours: int) -> Tensor:
    """Squared distance of each vector to its nearest neighbours' last, (N,) float32; N > neighbours."""
    # A vector is its own nearest, at a distance of 0.
    nearest_n = torch.full((len(features_nd), neighbours + 1), torch.inf)
    for rows, a_ad in _blocks(features_nd):
        for columns, b_bd in _blocks(features_nd):
            if columns.start < rows.start:  # seen the other way round
                continue
            distances_ab = squared_distances(a_ad, b_bd)
            _take_smallest(nearest_n[rows], distances_ab)
            if columns.start > rows.start:
                _take_smallest(nearest_n[columns], distances_ab.T)
    return nearest_n.amax(1)


def precision_and_recall(reference_ad: Tensor, samples_bd: Tensor, neighbours: int) -> tuple[float, float]:
    """Both shares; sets may differ in size, each has more than ``neighbours`` images. Any float dtype."""
    radii_a, radii_b = radii(reference_ad, neighbours), radii(samples_bd, neighbours)
    covered_a, real_b = (torch.zeros(len(each), dtype=torch.bool) for each in (radii_a, radii_b))
    for rows, a_ad in _blocks(reference_ad):
        for columns, b_bd in _blocks(samples_bd):
            distances_ab = squared_distances(a_ad, b_bd)
            real_b[columns] |= (distances_ab <= radii_a[rows, None]).any(0)
            covered_a[rows] |= (distances_ab <= radii_b[columns]).any(1)
    return real_b.double().mean().item(), covered_a.double().mean().item()


def _blocks(features_nd: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Parts of the rows, as float32."""
    for start in range(0, len(features_nd), BLOCK):
        rows = slice(start, start + BLOCK)
        yield rows, features_nd[rows].float()


def _take_smallest(nearest_nk: Tensor, distances_ab: Tensor) -> None:
    """Replace what is nearest so far, in place, where one of more distances is smaller."""
    k = nearest_nk.shape[1]
    found = distances_ab.topk(min(k, distances_ab.shape[1]), largest=False).values
    nearest_nk.copy_(torch.cat([nearest_nk, found], 1).topk(k, largest=False).values)


class PrecisionRecall(KeepingMetric):
    """Improved precision and recall.

    Both depend on the numbers of images: ADM's protocol has 50,000 samples against the 10,000 references of
    its file. Features are rounded to float16, as ADM rounds them; distances are computed in float32, ADM's
    in float16 (where all are finite).
    """

    class Config(KeepingConfig):
        """Options of precision and recall."""

        name: Literal["precision_recall"] = "precision_recall"
        neighbours: int = Field(3, ge=1)
        """A ball reaches to this nearest other image of its set."""

    TINY: ClassVar[dict[str, Any]] = {"keep": 64, "neighbours": 2}
    TITLES: ClassVar[Mapping[str, str]] = {"precision": "precision", "recall": "recall"}
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config, seed=0)

    def caution(self) -> str:
        """Balls shrink as sets grow: both numbers depend on how many images there are."""
        few = min(self.seen().values()) < min(USUAL, self.config.keep)
        return f"fewer than {USUAL:,}: both depend on how many there are, {UNLIKE}" if few else ""

    def result(self) -> dict[str, float]:
        sides = self.kept["reference"], self.kept["sample"]
        if any(side.count <= self.config.neighbours for side in sides):
            return {}
        reference, sample = (side.features for side in sides)
        precision, recall = precision_and_recall(reference, sample, self.config.neighbours)
        return {"precision": precision, "recall": recall}
