"""Helpers that do nothing on one process."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum over processes, in place; the identity without a process group."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(x)
    return x


def rank_and_world() -> tuple[int, int]:
    """Number of this process, and how many there are; (0, 1) without a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
