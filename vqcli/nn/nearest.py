"""Nearest-code search, block by block: the hot path of everything here.

|z|^2 is the same for every code, so the cost of a code is |e|^2 - 2 z.e: one matrix product of (e, |e|^2) and
(-2z, 1). On a CPU the time goes into finding the smallest cost, not into the product, hence groups: smallest
values of groups of codes are vectorized reductions, and only the few vectors that found a closer code search
the winning group.
Shape letters: N vectors, K codes, D width; n, k sides of one block, g codes of one group.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vqcli.nn.precision import float32

Metric = Literal["l2", "dot"]
MEMORY = 64 << 20
"""Bytes a search may use beside its arguments and its result."""
GROUP = 64


@torch.no_grad()
def nearest_codes(
    latents_nd: Tensor, codes_kd: Tensor, metric: Metric = "l2", memory: int = MEMORY
) -> Tensor:
    """Token int64 (N,) of each vector's closest code (``dot``: of the largest product), computed in float32.

    Ties go to the lowest index. A vector with NaN or infinity gets some token in range; codes must be finite.
    Uses ``memory`` bytes at most, whatever N and K are, unless one block of the smallest size needs more.
    Raises ValueError if the widths differ or there are no codes.
    """
    (n, width), size = latents_nd.shape, len(codes_kd)
    if codes_kd.shape[1] != width or not size:
        raise ValueError(f"cannot compare vectors of width {width} with codes {tuple(codes_kd.shape)}")
    tokens_n = torch.zeros(n, dtype=torch.int64, device=latents_nd.device)
    if tokens_n.is_meta:  # shapes are all there is
        return tokens_n
    with float32(latents_nd):
        for vectors_nd, out_n in zip(*(x.split(chunk_size(width, memory)) for x in (latents_nd, tokens_n))):
            _search(vectors_nd, codes_kd, metric, memory, out_n)
    return tokens_n


def chunk_size(width: int, memory: int) -> int:
    """Vectors that share one pass over the codes: their copies take a quarter of the memory."""
    return max(1, memory // 4 // (4 * (2 * width + 4)))


def block_sizes(n: int, size: int, width: int, memory: int, device: str) -> tuple[int, int]:
    """(codes, vectors) of a block: on a CPU costs stay in its caches; table and costs take a quarter each."""
    k, costs = (8192, min(1 << 21, memory // 16)) if device == "cpu" else (16384, memory // 16)
    k = min(k, -(-size // GROUP) * GROUP, max(1, memory // 4 // (4 * (2 * width + 1)) // GROUP) * GROUP)
    return k, max(1, min(n, costs // k))


def _search(vectors_nd: Tensor, codes_kd: Tensor, metric: Metric, memory: int, tokens_n: Tensor) -> None:
    """Write the tokens of one chunk of vectors."""
    (n, width), device = vectors_nd.shape, vectors_nd.device
    k, n_block = block_sizes(n, len(codes_kd), width, memory, device.type)
    factors = vectors_nd.new_ones(width + 1, n, dtype=torch.float32)
    factors[:width] = vectors_nd.T
    factors[:width] *= -2 if metric == "l2" else -1
    best_n = factors.new_full((n,), torch.inf)
    table, costs = factors.new_empty(k, width + 1), factors.new_empty(k * n_block)
    merge = _merge_grouped if device.type == "cpu" else _merge
    for first in range(0, len(codes_kd), k):
        _fill(table, codes_kd[first : first + k], metric)
        for i in range(0, n, n_block):
            here = slice(i, i + n_block)
            costs_kn = costs[: k * len(best_n[here])].view(k, -1)
            torch.mm(table, factors[:, here], out=costs_kn)
            merge(costs_kn, first, best_n[here], tokens_n[here])


def _fill(table: Tensor, codes_kd: Tensor, metric: Metric) -> None:
    """Rows (e, |e|^2); rows past the last code cost infinity."""
    k = len(codes_kd)
    table[:k, :-1] = codes_kd
    table[:k, -1] = table[:k, :-1].square().sum(1) if metric == "l2" else 0
    table[k:] = 0
    table[k:, -1] = torch.inf


def _merge(costs_kn: Tensor, first: int, best_n: Tensor, tokens_n: Tensor) -> None:
    """Keep what is closer; an equal code of a later block has a higher index and loses."""
    cost_n, index_n = costs_kn.min(0)
    closer_n = cost_n < best_n
    best_n.copy_(torch.where(closer_n, cost_n, best_n))
    tokens_n.copy_(torch.where(closer_n, index_n + first, tokens_n))


def _merge_grouped(costs_kn: Tensor, first: int, best_n: Tensor, tokens_n: Tensor) -> None:
    """``_merge`` with the smallest cost of each group first, and indices only for vectors that need one."""
    costs_xgn = costs_kn.view(-1, GROUP, len(best_n))
    groups_xn = costs_xgn.amin(1)
    closer = (groups_xn.amin(0) < best_n).nonzero().squeeze(1)
    if len(closer):
        best_n[closer], group = groups_xn[:, closer].min(0)
        tokens_n[closer] = group * GROUP + costs_xgn[group, :, closer].argmin(1) + first
