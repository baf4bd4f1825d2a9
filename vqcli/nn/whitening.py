"""Whitening: vectors of equal variance in all directions, nearest to what they were (ZCA).

A frozen codebook may have nearly all of its variance in a few directions, and what tells shapes in others:
a network learns from such vectors slowly. The map is unique: no eigenvector's sign is left to chance.
Shape letters: N vectors, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-3
"""Of the mean variance: added to each direction's, so that what is hardly there is not blown up."""


@torch.no_grad()
def whitening(z_nd: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and symmetric map (D, D), of the kind of vectors (N, D): (z - mean) @ map is white."""
    z = z_nd.cpu().double()
    mean = z.mean(0)
    covariance = (z - mean).mT @ (z - mean) / len(z)
    floor = LEAST * covariance.diagonal().mean() + torch.finfo(torch.float32).tiny
    variances, directions = torch.linalg.eigh(covariance + floor * torch.eye(len(mean), dtype=z.dtype))
    white = directions * variances.clamp(min=floor).rsqrt() @ directions.mT
    return mean.to(z_nd), white.to(z_nd)
