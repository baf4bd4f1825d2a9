"""Stochastic depth: residual branches that are left out at times.

Paper: Huang et al., "Deep Networks with Stochastic Depth", https://arxiv.org/abs/1603.09382.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Leave a residual branch out for whole samples, in training; the others are scaled to make up for it."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        kept = torch.rand(len(x), *(1,) * (x.ndim - 1), device=x.device) >= self.share
        return x * kept.to(x.dtype) / (1 - self.share)


def rising(most: float, layer: int, layers: int) -> float:
    """The share that a layer leaves out: 0 in the first, ``most`` in the last, linear in between."""
    return most * layer / max(1, layers - 1)
