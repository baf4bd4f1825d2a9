"""Kernel Inception Distance: squared maximum mean discrepancy of features under a cubic kernel.

Paper: Binkowski et al., "Demystifying MMD GANs", https://arxiv.org/abs/1801.01401, section 4.
Shape letters: M images of a subset, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from vqcli.metrics.kept_features import KeepingConfig, KeepingMetric


def kernel_discrepancy(a_md: Tensor, b_md: Tensor) -> float:
    """Unbiased squared MMD of two float32 sets of M >= 2 vectors, kernel (x.y / D + 1)^3; may be below 0.

    The diagonals of both sets are left out, that between them is not (torch-fidelity, torchmetrics and the
    authors' code). Sums are taken in float64.
    """
    m = len(a_md)
    within = _kernel_sum(a_md, a_md, diagonal=False) + _kernel_sum(b_md, b_md, diagonal=False)
    return within / (m * (m - 1)) - 2 * _kernel_sum(a_md, b_md, diagonal=True) / m**2


def _kernel_sum(a_md: Tensor, b_md: Tensor, diagonal: bool) -> float:
    kernel_mm = (a_md @ b_md.T).div_(a_md.shape[1]).add_(1).pow_(3)
    if not diagonal:
        kernel_mm.fill_diagonal_(0)
    return kernel_mm.sum(dtype=torch.float64).item()


class KernelDistance(KeepingMetric):
    """Kernel Inception Distance (KID): the mean over random subsets of both sides.

    Subsets are drawn as torch-fidelity draws them, the samples' first, from the images in the order of their
    set. Where a side has fewer images than ``subset_size`` asks for, subsets of both have as many as it has
    (clean-fid's rule): ``kid_subset_size`` tells, and draws of a whole side no longer differ.
    """

    class Config(KeepingConfig):
        """Options of KID."""

        name: Literal["kid"] = "kid"
        subsets: int = Field(100, ge=1)
        """Pairs of subsets whose distances are averaged."""
        subset_size: int = Field(1000, ge=2)
        """Images a subset."""
        seed: int = Field(2020, ge=0, lt=2**32)
        """Of numpy's RandomState, which draws the subsets."""

    TINY: ClassVar[dict[str, Any]] = {"keep": 64, "subsets": 3, "subset_size": 8}
    TITLES: ClassVar[Mapping[str, str]] = {
        "kid": "KID",
        "kid_std": "KID, standard deviation over subsets",
        "kid_subset_size": "KID, images a subset",
    }
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config, config.seed)

    def result(self) -> dict[str, float]:
        """Mean and standard deviation over the subsets (of their number, not one less)."""
        sides = self.kept["sample"], self.kept["reference"]
        size = min(self.config.subset_size, *(side.count for side in sides))
        if size < 2:
            return {}
        ordered = [(side.features, side.indices.argsort().numpy()) for side in sides]
        draws, found = np.random.RandomState(self.config.seed), []
        for _ in range(self.config.subsets):
            chosen = [order[draws.choice(len(order), size, replace=False)] for _, order in ordered]
            subsets = [rows[torch.from_numpy(i)].float() for (rows, _), i in zip(ordered, chosen)]
            found.append(kernel_discrepancy(*subsets))
        return {"kid": float(np.mean(found)), "kid_std": float(np.std(found)), "kid_subset_size": size}
