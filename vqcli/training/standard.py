"""Mean and deviation of latents, by which they are standardized for generators.

Shape letters: B images, D width, h, w sides of latents.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from vqcli.nn.distributed import all_reduce_sum
from vqcli.types import Latents, Made, Progress, Standard

LEAST = 1e-6
"""Deviations below it are of channels that never change: they count as 1."""


def measure_latents(batches: Iterable[Made], device: torch.device, progress: Progress) -> Standard:
    """Mean and deviation of each channel over the batches of all processes. A collective call."""
    total: torch.Tensor | float = 0.0
    for made in batches:
        assert isinstance(made, Latents)
        z = made.values.detach().cpu().double()
        total = total + torch.stack(
            [z.sum((0, 2, 3)), z.square().sum((0, 2, 3)), torch.full(z.shape[1:2], z[:, 0].numel())]
        )
        progress.advance()
    assert isinstance(total, torch.Tensor)
    sums, squares, counts = all_reduce_sum(total.to(device, torch.float32)).cpu().double()
    mean = sums / counts
    std = (squares / counts - mean.square()).clamp(min=0).sqrt()
    std = std.where(std > LEAST, torch.ones_like(std))
    return Standard(tuple(mean.float().tolist()), tuple(std.float().tolist()))  # as a checkpoint keeps them
