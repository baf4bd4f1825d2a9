"""Nearest-code search on a CPU, compiled by numba: of narrow codes as a whole, of wide ones the last step.

A tile of narrow codes, transposed, stays in the first cache while all vectors pass by it; the width is known
to the compiler, so that a cost is a row of fused multiply-adds for as many codes at once as a register holds.
Costs never leave the cache. Of wide codes, whose products are a library's, each product is read once.
Shape letters: N vectors, K codes, D width, T tiles, J codes of a tile; n, k sides of one block.
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
THREADED = 1 << 25
"""Multiplications for which a thread is worth its start: about two milliseconds of them."""


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


def merge(products_kn: Tensor, norms_k: Tensor, first: int, best_n: Tensor, tokens_n: Tensor) -> None:
    """Keep, of costs ``norms - products`` of codes from ``first`` on, what is closer: best, and token int32.

    In this thread: with two it was measured to take longer, since each block is soon read.
    """
    _merger()(*(x.numpy() for x in (products_kn, norms_k)), first, *(x.numpy() for x in (best_n, tokens_n)))


@cache
def _merger() -> Kernel:
    """Four codes at once, so that what was best is read and written once for them."""

    def kernel(products: Any, norms: Any, first: int, best: Any, tokens: Any) -> None:
        for k in range(0, len(norms) - 3, 4):
            a, b, c, d = norms[k], norms[k + 1], norms[k + 2], norms[k + 3]
            row_a, row_b, row_c, row_d = products[k], products[k + 1], products[k + 2], products[k + 3]
            token = np.int32(first + k)
            for n in range(len(best)):
                cost_a, cost_b, cost_c, cost_d = a - row_a[n], b - row_b[n], c - row_c[n], d - row_d[n]
                left = cost_b if cost_b < cost_a else cost_a
                left_token = token + np.int32(1) if cost_b < cost_a else token
                right = cost_d if cost_d < cost_c else cost_c
                right_token = token + np.int32(3) if cost_d < cost_c else token + np.int32(2)
                cost, of = (right, right_token) if right < left else (left, left_token)
                tokens[n] = of if cost < best[n] else tokens[n]
                best[n] = cost if cost < best[n] else best[n]
        for k in range(len(norms) - len(norms) % 4, len(norms)):
            token = np.int32(first + k)
            for n in range(len(best)):
                cost = norms[k] - products[k, n]
                tokens[n] = token if cost < best[n] else tokens[n]
                best[n] = cost if cost < best[n] else best[n]

    return machine_code(kernel)
