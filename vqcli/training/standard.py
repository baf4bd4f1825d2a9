"""Mean and deviation of latents, by which they are standardized for generators.

Shape letters: B images, D width, h, w sides of latents.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from vqcli.errors import VqcliError
from vqcli.nn.distributed import all_reduce_sum
from vqcli.types import Latents, Made, Progress, Standard

LEAST = 1e-6
"""Deviations below it are of channels that never change: they count as 1."""


def measure_standard(
    batches: Iterable[Made], width: int, device: torch.device, progress: Progress
) -> Standard:
    """Mean and deviation of each of ``width`` channels over the batches of all processes, which may have
    different numbers of them. A collective call. Raises VqcliError, on all, where there is no image at all.
    """
    total = torch.zeros(3, width, dtype=torch.float64)
    for made in batches:
        assert isinstance(made, Latents)
        z = made.values.detach().cpu().double()
        total += torch.stack(
            [z.sum((0, 2, 3)), z.square().sum((0, 2, 3)), torch.full((width,), float(z[:, 0].numel()))]
        )
        progress.advance()
    wide = torch.float32 if device.type == "mps" else torch.float64  # mps knows no float64
    sums, squares, counts = all_reduce_sum(total.to(device, wide)).cpu().double()
    if not counts.any():
        raise VqcliError(
            "no image could be used to measure latents",
            hint="look at the data: vqcli encode lists what is wrong",
            reason="input-empty",
        )
    mean = sums / counts
    std = (squares / counts - mean.square()).clamp(min=0).sqrt()
    std = std.where(std > LEAST, torch.ones_like(std))
    return Standard(tuple(mean.float().tolist()), tuple(std.float().tolist()))  # as a checkpoint keeps them
