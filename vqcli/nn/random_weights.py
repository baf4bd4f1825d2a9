"""Weights that mean nothing, for a look at how a frozen network is used where its own are not at hand."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def random_weights(state: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Weights by the keys of ``state``, under which activations keep their size; a function of the seed.

    Convolutions and linear maps are normal, as He et al. (https://arxiv.org/abs/1502.01852); those into one
    channel, which are LPIPS's heads, positive. Batch norms change nothing; biases are 0.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: _drawn(name, tensor, generator) for name, tensor in sorted(state.items())}


def _drawn(name: str, tensor: Tensor, generator: torch.Generator) -> Tensor:
    if tensor.ndim < 2:
        return torch.full(tensor.shape, float(name.endswith(("bn.weight", "running_var"))))
    inputs = math.prod(tensor.shape[1:])
    values = torch.randn(tensor.shape, generator=generator) * math.sqrt(2 / inputs)
    return values.abs() if tensor.shape[0] == 1 else values
