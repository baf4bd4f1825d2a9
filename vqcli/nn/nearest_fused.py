"""Nearest-code search on a GPU as one Triton kernel: costs never leave the registers.

A program compares a block of vectors with a share of the codes, tile by tile: product, |e|^2, running
minimum. Programs that share vectors agree through atomic minima of keys: the bits of a cost, ordered as an
integer, above the token, so that the lowest index wins a tie.
Two forms. ``fp32`` multiplies in float32. ``bf16x3`` writes every number as the sum of two of bfloat16 and
adds three products of tensor cores: z.e is then off by 3 |z| |e| / 2^18 at most, beside what sums round, and
a cost by twice as much. So where the second-best cost is within ``MARGIN`` |z| max|e| of the best, ``fp32``
searches again. Tokens of the two forms differ only where float32's own rounding decides.
Tested through Triton's interpreter and compiled for GPUs from the A100 on; sides of tiles were not measured.
Shape letters: N vectors, K codes, D width; n, k, d sides of one tile.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

Form = Literal["fp32", "bf16x3"]
MARGIN = 2.0**-14
"""12 / 2^18 for the two costs, and a third of it again for rounded sums."""
NONE = 0x7F800000 << 32
"""The key of a cost of infinity and token 0."""


class Tile(NamedTuple):
    """Sides of a tile, and the warps that share it."""

    n: int
    k: int
    d: int
    warps: int


def tile(form: Form, width: int) -> Tile:
    """By what registers hold."""
    d = max(16, min(32, triton.next_power_of_2(width)))
    return Tile(64, 64, d, 4) if form == "fp32" else Tile(128, 64, d, 8)


def search(
    form: Form, vectors_nd: Tensor, codes_kd: Tensor, metric: str, memory: int, tokens_n: Tensor
) -> None:
    """Write the token of each vector, as ``nearest.nearest_codes`` has them. Never waits for the device."""
    best_n = torch.full_like(tokens_n, NONE)
    second_n = best_n.clone() if form == "bf16x3" else None
    _launch(form, (vectors_nd, codes_kd, metric), best_n, second_n)
    if second_n is not None:
        gap_n = _cost(second_n) - _cost(best_n)
        near_n = ~(gap_n > _room(vectors_nd, codes_kd, memory))  # NaN is near, too
        best_n.masked_fill_(near_n, NONE)
        some = near_n.byte().argsort(descending=True), near_n.sum()
        _launch("fp32", (vectors_nd, codes_kd, metric), best_n, some=some)
    tokens_n.copy_(best_n & 0xFFFFFFFF)


def _cost(keys_n: Tensor) -> Tensor:
    """The costs (N,) in keys."""
    ordered_n = (keys_n >> 32).int()
    return (ordered_n ^ (ordered_n >> 31 & 0x7FFFFFFF)).view(torch.float32)


def _room(vectors_nd: Tensor, codes_kd: Tensor, memory: int) -> Tensor:
    """How far the costs (N,) of two codes must differ for the order to be float32's."""

    def lengths(x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x, dim=1).float()

    longest = torch.stack([lengths(part).max() for part in codes_kd.split(max(1, memory // 64))]).max()
    return MARGIN * longest * lengths(vectors_nd)


def _launch(
    form: Form,
    given: tuple[Tensor, Tensor, str],
    best_n: Tensor,
    second_n: Tensor | None = None,
    some: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Lower the keys of best costs, and of second-best ones; ``some``: rows (N,), and how many count."""
    vectors_nd, codes_kd, metric = given
    (n, width), size = vectors_nd.shape, len(codes_kd)
    side, busy = tile(form, width), _programs(vectors_nd.device)
    blocks, tiles = -(-n // side.n), -(-size // side.k)
    shares = min(tiles, busy if some else -(-busy // blocks))
    share = -(-tiles // shares) * side.k
    with torch.cuda.device_of(vectors_nd):
        _kernel[blocks, -(-size // share)](
            *(vectors_nd, codes_kd, best_n, best_n if second_n is None else second_n),
            *(some or (best_n, best_n)),
            *(n, size, share, *vectors_nd.stride(), *codes_kd.stride()),
            D=width,
            L2=metric == "l2",
            SPLIT=form == "bf16x3",
            # Triton's interpreter multiplies the bits of bfloat16; in float32 the same products are exact
            SHORT=tl.bfloat16 if vectors_nd.is_cuda else tl.float32,
            SOME=some is not None,
            N=side.n,
            K=side.k,
            B=side.d,
            num_warps=side.warps,
            num_stages=2 if torch.float64 in (vectors_nd.dtype, codes_kd.dtype) else 3,  # shared memory
            enable_fp_fusion=True,
        )


def _programs(device: torch.device) -> int:
    """How many programs keep a device busy: four for each of its multiprocessors."""
    return 4 * torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]
    z_ptr,
    e_ptr,
    best_ptr,
    second_ptr,
    rows_ptr,
    count_ptr,
    n,
    size,
    share,
    z_row,
    z_column,
    e_row,
    e_column,
    D: tl.constexpr,
    L2: tl.constexpr,
    SPLIT: tl.constexpr,
    SHORT: tl.constexpr,
    SOME: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    B: tl.constexpr,
):
    """A block of vectors against a share of the codes."""
    start = tl.program_id(0) * N
    if SOME:
        n = tl.load(count_ptr).to(tl.int32)
        if start >= n:
            return
    at_n = start + tl.arange(0, N)
    row_n = tl.load(rows_ptr + at_n, mask=at_n < n, other=0) if SOME else at_n.to(tl.int64)
    first = tl.program_id(1) * share
    last = tl.minimum(first + share, size)
    best_n = tl.full((N,), float("inf"), tl.float32)
    second_n = tl.full((N,), float("inf"), tl.float32)
    token_n = tl.full((N,), 0, tl.int32)
    for k in range(first, last, K):
        at_k = k + tl.arange(0, K)
        z_n1 = z_ptr + row_n[:, None] * z_row
        e_1k = e_ptr + at_k.to(tl.int64)[None, :] * e_row
        in_n1, in_1k = (at_n < n)[:, None], (at_k < last)[None, :]
        cost_nk = _costs(z_n1, e_1k, in_n1, in_1k, z_column, e_column, D, L2, SPLIT, SHORT, N, K, B)
        cost_nk = tl.where(in_1k, cost_nk, float("inf"))
        least_n = tl.min(cost_nk, 1)
        place_n = tl.min(tl.where(cost_nk == least_n[:, None], at_k[None, :], size), 1)
        if SPLIT:
            others_nk = tl.where(at_k[None, :] == place_n[:, None], float("inf"), cost_nk)
            loser_n = tl.maximum(best_n, least_n)
            second_n = tl.minimum(second_n, tl.minimum(loser_n, tl.min(others_nk, 1)))
        token_n = tl.where(least_n < best_n, place_n, token_n)
        best_n = tl.where(least_n < best_n, least_n, best_n)
    key_n = _key(best_n, token_n)
    old_n = tl.atomic_min(best_ptr + row_n, key_n, mask=at_n < n)
    if SPLIT:
        tl.atomic_min(second_ptr + row_n, tl.maximum(old_n, key_n), mask=at_n < n)
        tl.atomic_min(second_ptr + row_n, _key(second_n, token_n), mask=at_n < n)


@triton.jit
def _costs(  # type: ignore[no-untyped-def]
    z_n1,
    e_1k,
    in_n1,
    in_1k,
    z_column,
    e_column,
    D: tl.constexpr,
    L2: tl.constexpr,
    SPLIT: tl.constexpr,
    SHORT: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    B: tl.constexpr,
):
    """The costs of a tile, from where its rows begin."""
    product_nk = tl.zeros((N, K), tl.float32)
    norm_k = tl.zeros((K,), tl.float32)
    for d in range(0, D, B):
        at_d = (d + tl.arange(0, B)).to(tl.int64)
        there_nd, there_dk = in_n1 & (at_d < D)[None, :], in_1k & (at_d < D)[:, None]
        z_nd = tl.load(z_n1 + at_d[None, :] * z_column, mask=there_nd, other=0).to(tl.float32)
        e_dk = tl.load(e_1k + at_d[:, None] * e_column, mask=there_dk, other=0).to(tl.float32)
        if SPLIT:
            z_high, e_high = _rounded(z_nd), _rounded(e_dk)
            z_low, e_low = _rounded(z_nd - z_high), _rounded(e_dk - e_high)
            product_nk = tl.dot(z_low.to(SHORT), e_high.to(SHORT), product_nk)
            product_nk = tl.dot(z_high.to(SHORT), e_low.to(SHORT), product_nk)
            product_nk = tl.dot(z_high.to(SHORT), e_high.to(SHORT), product_nk)
        else:
            product_nk = tl.dot(z_nd, e_dk, product_nk, input_precision="ieee")
        if L2:
            norm_k += tl.sum(e_dk * e_dk, 0)
    return norm_k[None, :] - 2 * product_nk if L2 else -product_nk


@triton.jit
def _rounded(x):  # type: ignore[no-untyped-def]
    """The nearest number that bfloat16 has, as float32."""
    return ((x.to(tl.int32, bitcast=True) + 0x8000) & -0x10000).to(tl.float32, bitcast=True)


@triton.jit
def _key(cost_n, token_n):  # type: ignore[no-untyped-def]
    """Integers ordered as costs are, then as tokens are; -0, whose bits come before those of 0, is made 0."""
    bits_n = tl.where(cost_n == 0, 0.0, cost_n).to(tl.int32, bitcast=True)
    ordered_n = bits_n ^ ((bits_n >> 31) & 0x7FFFFFFF)
    return (ordered_n.to(tl.int64) << 32) | token_n.to(tl.int64)


@cache
def trouble(device: torch.device) -> str | None:
    """Why the kernel cannot be used on a device: it is compiled there and tried on whole numbers."""
    generator = torch.Generator().manual_seed(0)
    z_nd, codes_kd = (torch.randint(-500, 500, (n, 20), generator=generator).to(device) for n in (70, 300))
    codes_kd = torch.cat([codes_kd, codes_kd])
    want_n = (codes_kd.square().sum(1) - 2 * (z_nd.double() @ codes_kd.double().t())).argmin(1)
    try:
        for form in ("fp32", "bf16x3"):
            tokens_n = torch.empty_like(want_n)
            search(form, z_nd.float(), codes_kd.float(), "l2", 1 << 20, tokens_n)
            if not torch.equal(tokens_n, want_n):
                return f"the {form} form found other codes than float64"
    except Exception as e:  # no compiler, a GPU that Triton does not know, a driver that is too old
        return f"{type(e).__name__}: {(str(e).strip() or 'no reason given').splitlines()[-1]}"
    return None
