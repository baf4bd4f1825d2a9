"""Nearest-code search: the hot path of everything here.

|z|^2 is the same for every code, so the cost of a code is |e|^2 - 2 z.e. Wide codes go block by block
through one matrix product, to which |e|^2 is added. On a CPU the rest of the time goes into finding the
smallest cost, hence groups: smallest values of groups of codes are vectorized reductions, and only the few
vectors that found a closer code search the winning group. Where numba is installed, ``nearest_compiled``
finds it in one pass, and narrow codes go through it as a whole; on a GPU, where they are asked for, Triton's
kernels in ``nearest_fused`` never write the costs.
Shape letters: N vectors, K codes, D width; n, k sides of one block, g codes of one group.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from vqcli.nn.fast import compiles
from vqcli.nn.precision import float32

Metric = Literal["l2", "dot"]
Way = Literal["torch", "torch+numba", "numba", "fp32", "bf16x3"]
"""How codes are searched: in blocks, in blocks with ``merge`` of ``nearest_compiled``, by its ``search``, by
a form of ``nearest_fused``."""
MEMORY = 64 << 20
"""Bytes a search may use beside its arguments and its result; on a GPU, where it is more, a 64th of it."""
GROUP = 32
NARROW, MANY = 32, 1024
"""Widest codes that compiled code searches as a whole; fewest for which it is worth its import, 0.3 s."""
MIDDLE = 64
"""Widest codes whose kernel on a GPU is the float32 one."""
TENSOR = ((8, 0), (9, 0), (10, 0), (10, 3))
"""GPUs whose three products of bfloat16 are, by data sheets, faster than one of float32: A100, H100, B200,
B300. That is reasoned, and no GPU was measured (``benchmarks/nearest.py --device cuda`` does): hence kernels
on a GPU are used where they are asked for alone."""


@torch.no_grad()
def nearest_codes(
    latents_nd: Tensor, codes_kd: Tensor, metric: Metric = "l2", memory: int | None = None
) -> Tensor:
    """Token int64 (N,) of each vector's closest code (``dot``: of the largest product), computed in float32.

    Ties go to the lowest index. A vector with NaN or infinity gets some token in range; codes must be finite.
    Uses ``memory`` bytes at most (None: ``budget``), whatever N and K are, unless one block of the smallest
    size needs more.
    Raises ValueError if the widths differ or there are no codes.
    """
    (n, width), size = latents_nd.shape, len(codes_kd)
    if codes_kd.shape[1] != width or not size:
        raise ValueError(f"cannot compare vectors of width {width} with codes {tuple(codes_kd.shape)}")
    tokens_n = torch.zeros(n, dtype=torch.int64, device=latents_nd.device)
    if tokens_n.is_meta or not n:  # shapes are all there is
        return tokens_n
    memory = memory or budget(tokens_n.device)
    search = _searcher(way(size, width, tokens_n.device))
    with float32(latents_nd):
        for vectors_nd, out_n in zip(*(x.split(chunk_size(width, memory)) for x in (latents_nd, tokens_n))):
            search(vectors_nd, codes_kd, metric, memory, out_n)
    return tokens_n


def way(size: int, width: int, device: torch.device) -> Way:
    """How codes of this number and width are searched, however many vectors come."""
    if device.type == "cpu" and compiles(size >= MANY):
        return "numba" if width <= NARROW else "torch+numba"
    if device.type == "cuda" and compiles(False, by="triton"):
        from vqcli.nn.nearest_fused import trouble

        wide = width > MIDDLE and torch.cuda.get_device_capability(device) in TENSOR
        if trouble(device) is None:
            return "bf16x3" if wide else "fp32"
    return "torch"


def _searcher(chosen: Way) -> Callable[[Tensor, Tensor, Metric, int, Tensor], None]:
    if chosen == "torch":
        return _search
    if chosen == "torch+numba":
        return _search_compiled
    if chosen == "numba":
        from vqcli.nn.nearest_compiled import search

        return search
    from vqcli.nn import nearest_fused

    return partial(nearest_fused.search, chosen)


def budget(device: torch.device) -> int:
    """Bytes for a search; not a share of what is free: blocks, and how sums are rounded, would change."""
    if device.type != "cuda":
        return MEMORY
    return max(MEMORY, torch.cuda.get_device_properties(device).total_memory // 64)


def chunk_size(width: int, memory: int) -> int:
    """Vectors that share one pass over the codes: their copy takes a quarter of the memory."""
    return max(1, memory // 4 // (4 * (width + 4)))


def block_sizes(n: int, size: int, width: int, memory: int, device: str) -> tuple[int, int]:
    """(codes, vectors) of a block: on a CPU costs stay in its caches; codes and costs take a quarter each.

    Blocks of codes are even, whole groups; those of vectors are multiples of 16, where there are as many.
    """
    k, costs = (2048, min(1 << 20, memory // 16)) if device == "cpu" else (16384, memory // 16)
    k = max(GROUP, min(k, memory // 4 // (8 * width)))
    k = -(-size // (-(-size // k)))
    k = -(-k // GROUP) * GROUP
    fit = max(1, costs // k)
    return k, min(n, fit // 16 * 16 or fit)


def _search(vectors_nd: Tensor, codes_kd: Tensor, metric: Metric, memory: int, tokens_n: Tensor) -> None:
    """Write the tokens of one chunk of vectors."""
    (n, width), device = vectors_nd.shape, vectors_nd.device
    k, n_block = block_sizes(n, len(codes_kd), width, memory, device.type)
    vectors_nd = vectors_nd.float()
    best_n = vectors_nd.new_full((n,), torch.inf)
    costs = vectors_nd.new_empty(k * n_block)
    merge = _merge_grouped if device.type == "cpu" else _merge
    for first in range(0, len(codes_kd), k):
        block_kd = codes_kd[first : first + k].float()
        rows, groups = len(block_kd), -(-len(block_kd) // GROUP) * GROUP
        norms_k1 = block_kd.square().sum(1, keepdim=True) if metric == "l2" else block_kd.new_zeros(1)
        for i in range(0, n, n_block):
            here = slice(i, i + n_block)
            costs_kn = costs[: groups * len(best_n[here])].view(groups, -1)
            costs_kn[rows:] = torch.inf
            adds, times = (1, -2) if metric == "l2" else (0, -1)
            factors_dn = vectors_nd[here].t()
            torch.addmm(norms_k1, block_kd, factors_dn, beta=adds, alpha=times, out=costs_kn[:rows])
            merge(costs_kn, first, best_n[here], tokens_n[here])


def _search_compiled(
    vectors_nd: Tensor, codes_kd: Tensor, metric: Metric, memory: int, tokens_n: Tensor
) -> None:
    """``_search`` on a CPU where each product is compared in one pass of compiled code."""
    from vqcli.nn.nearest_compiled import merge

    n, width = vectors_nd.shape
    k, n_block = block_sizes(n, len(codes_kd), width, memory, "cpu")
    factors_nd = vectors_nd.float() * (2 if metric == "l2" else 1)
    best_n, found_n = factors_nd.new_full((n,), torch.inf), torch.zeros(n, dtype=torch.int32)
    products = factors_nd.new_empty(k * n_block)
    for first in range(0, len(codes_kd), k):
        block_kd = codes_kd[first : first + k].float()
        norms_k = block_kd.square().sum(1) if metric == "l2" else block_kd.new_zeros(len(block_kd))
        for i in range(0, n, n_block):
            here = slice(i, i + n_block)
            products_kn = products[: len(block_kd) * len(best_n[here])].view(len(block_kd), -1)
            torch.mm(block_kd, factors_nd[here].t(), out=products_kn)
            merge(products_kn, norms_k, first, best_n[here], found_n[here])
    tokens_n.copy_(found_n)


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
        some_xc = groups_xn if len(closer) == len(best_n) else groups_xn[:, closer]
        best_n[closer], group = some_xc.min(0)
        tokens_n[closer] = group * GROUP + costs_xgn[group, :, closer].argmin(1) + first
