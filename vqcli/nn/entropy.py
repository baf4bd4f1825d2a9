"""Entropy penalty: every vector sure of its code, all codes used alike; (N, K) is never held at once.

Papers: Yu et al., "LFQ", https://arxiv.org/abs/2310.05737, section 3; Shi et al., "IBQ",
https://arxiv.org/abs/2412.02692. Probabilities are a softmax of -|z - e|^2, or of z.e, over a temperature.
Shape letters: N vectors, D width, K codes; n vectors of one block.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vqcli.nn.nearest import Metric

MEMORY = 256 << 20
"""Bytes of one (n, K) block; it is computed again in the backward pass."""
EPS = 1e-5
"""In the logarithm of average probabilities, as published."""


def entropy_loss(
    vectors_nd: Tensor, codes_kd: Tensor, metric: Metric, temperature: float, memory: int = MEMORY
) -> Tensor:
    """Mean entropy of each vector's probabilities, minus the entropy of their mean: a scalar.

    The mean is over this process's vectors.
    """
    rows = max(1, memory // (4 * len(codes_kd)))
    total_k, entropy = codes_kd.new_zeros(len(codes_kd)), codes_kd.new_zeros(())
    again = torch.is_grad_enabled() and rows < len(vectors_nd)
    for block_nd in vectors_nd.split(rows):
        if again:
            some_k, some = checkpoint(
                _block, block_nd, codes_kd, metric, temperature, use_reentrant=False, preserve_rng_state=False
            )
        else:
            some_k, some = _block(block_nd, codes_kd, metric, temperature)
        total_k, entropy = total_k + some_k, entropy + some
    mean_k = total_k / len(vectors_nd)
    return entropy / len(vectors_nd) + (mean_k * (mean_k + EPS).log()).sum()


def _block(vectors_nd: Tensor, codes_kd: Tensor, metric: Metric, temperature: float) -> tuple[Tensor, Tensor]:
    """Sums over a block: probabilities (K,), and entropies."""
    affinity_nk = vectors_nd @ codes_kd.T
    if metric == "l2":  # without |z|^2, which is the same for all codes
        affinity_nk = 2 * affinity_nk - codes_kd.square().sum(1)
    logs_nk = (affinity_nk / temperature).log_softmax(1)
    probabilities_nk = logs_nk.exp()
    return probabilities_nk.sum(0), -(probabilities_nk * logs_nk).sum()
