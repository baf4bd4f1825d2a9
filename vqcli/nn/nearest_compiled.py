"""Nearest-code search for narrow codes on a CPU, compiled by numba: costs never leave the first cache.

A tile of codes, transposed, stays in the first cache while all vectors pass by it; the width is known to the
compiler, so that a cost is a row of fused multiply-adds for as many codes at once as a register holds.
Shape letters: N vectors, K codes, D width, T tiles, J codes of a tile.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from vqcli.nn.compiled import Kernel, each, machine_code, parts

TILE = 256
THREADED = 1 << 22
"""Multiplications for which a thread is worth its start: about a millisecond of them."""


def search(vectors_nd: Tensor, codes_kd: Tensor, metric: str, memory: int, tokens_n: Tensor) -> None:
    """Write the token of each vector, as ``nearest.nearest_codes`` has them."""
    n, width = vectors_nd.shape
    factors_nd = vectors_nd.float() * (-2 if metric == "l2" else -1)
    best_n = factors_nd.new_full((n,), torch.inf)
    kernel = _searcher(width)
    step = max(TILE, memory // 2 // (8 * (width + 1)) // TILE * TILE)
    shares = parts(n, n * width * min(step, len(codes_kd)), THREADED)
    arrays = [[x[here].numpy() for x in (factors_nd, best_n, tokens_n)] for here in shares]
    for first in range(0, len(codes_kd), step):
        tiles = [x.numpy() for x in _tiles(codes_kd[first : first + step], metric)]
        each(kernel, [(*mine, *tiles, first) for mine in arrays])


def _tiles(codes_kd: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    """Codes (T, D, J) and |e|^2 (T, J); what fills the last tile costs infinity."""
    k, width = codes_kd.shape
    count = -(-k // TILE)
    tiles_tjd = codes_kd.new_zeros(count, TILE, width, dtype=torch.float32)
    flat_kd = tiles_tjd.view(-1, width)
    flat_kd[:k] = codes_kd
    norms_k = flat_kd.square().sum(1) if metric == "l2" else flat_kd.new_zeros(len(flat_kd))
    norms_k[k:] = torch.inf
    return tiles_tjd.transpose(1, 2).contiguous(), norms_k.view(count, TILE)


@intrinsic
def _least(typing: Any, a: Any, b: Any) -> Any:
    """The smaller number, with leave to take any of NaN: only so does a loop of it become vectors."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        leave = ("nnan", "nsz")
        return builder.select(builder.fcmp_ordered("<", *arguments, flags=leave), *arguments, flags=leave)

    return types.float32(types.float32, types.float32), build


@cache
def _searcher(width: int) -> Kernel:
    """The search among codes of this width."""

    def kernel(factors: Any, best: Any, tokens: Any, tiles: Any, norms: Any, first: int) -> None:
        costs = np.empty(TILE, np.float32)
        for t in range(len(tiles)):
            tile, norm = tiles[t], norms[t]
            for i in range(len(factors)):
                least = np.float32(np.inf)
                for j in range(TILE):
                    cost = norm[j]
                    for d in range(width):
                        cost += factors[i, d] * tile[d, j]
                    costs[j] = cost
                    least = _least(least, cost)  # type: ignore[call-arg]  # numba gives the first
                if least < best[i]:
                    place = np.int32(TILE)  # of the first one: ties go to the lowest index
                    for j in range(TILE):
                        place = min(place, np.int32(j) if costs[j] == least else np.int32(TILE))
                    if place < TILE:
                        best[i] = least
                        tokens[i] = first + t * TILE + place

    return machine_code(kernel)
