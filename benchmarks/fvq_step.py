"""The quantizer's part of an FVQ training step, forward and backward, against its published form.

    python benchmarks/fvq_step.py
    python benchmarks/fvq_step.py --codes 16384 --widths 256 --vectors 4096 --busy

The published form has the same bridge with attention written out (softmax(q k^T) v, which keeps T x T numbers
a head), all N x K distances at once (|z|^2 + |e|^2 - 2 z.e), two mean squared errors and the straight-through
estimator. Both are given the same latents, weights and gradient from the decoder; both take turns in one
process. Peak memory is that of a process of its own each, above what it held before the step.
Bridges are those of the published recipes: L/4 for 16,384 codes, L/8 for 262,144. ``products alone`` are the
matrix products of the step, forward and backward, the limit of both.
Shape letters: N vectors, K codes, D width, T patches, h hidden.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from benchmarks.side_by_side import against, neighbour, parser, race, report
from vqcli.codebooks.bridged import BridgedCodebook, BridgedConfig
from vqcli.nn.bridge import HEADS, BridgeBlock
from vqcli.quantizers.nearest import NearestQuantizer

SIDE = 16
"""Of the latents of an image."""


class PublishedBlock(BridgeBlock):
    """The block with attention as the authors have it."""

    def attend(self, x_th: Tensor) -> Tensor:
        """Self-attention of all patches, T x T numbers a head."""
        t, h = x_th.shape
        q, k, v = self.qkv(x_th).reshape(1, t, 3, HEADS, h // HEADS).permute(2, 0, 3, 1, 4)
        shares = (q * (h // HEADS) ** -0.5 @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.out((shares @ v).transpose(1, 2).reshape(t, h))


class Published(NearestQuantizer):
    """The quantizer as the authors have it; ``forward`` gives latents and the two losses."""

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        z = latents.permute(0, 2, 3, 1).contiguous()
        z_nd, codes_kd = z.view(-1, self.width), self.codebook.codes()
        distances = (z_nd**2).sum(1, keepdim=True) + (codes_kd**2).sum(1) - 2 * z_nd @ codes_kd.T
        chosen = F.embedding(distances.argmin(1), codes_kd).view(z.shape)
        losses = ((chosen - z.detach()) ** 2).mean() + 0.25 * ((chosen.detach() - z) ** 2).mean()
        return (z + (chosen - z).detach()).permute(0, 3, 1, 2), losses


def made(kind: type[NearestQuantizer], k: int, d: int) -> NearestQuantizer:
    """A quantizer with the published bridge, the same weights each time, in training."""
    torch.manual_seed(0)
    config = BridgedConfig.model_validate(
        {"size": k, "width": d, "bridge": "L/8" if k > 20_000 else "L/4", "last_layer": "small"}
    )
    quantizer = kind(NearestQuantizer.Config(), BridgedCodebook(config))
    if kind is Published:
        for block in quantizer.codebook.bridge.blocks:  # type: ignore[union-attr, operator]
            block.__class__ = PublishedBlock
    return quantizer


def inputs(n: int, d: int) -> tuple[Tensor, Tensor]:
    """Latents and their gradient from the decoder, (B, D, h, w)."""
    generator = torch.Generator().manual_seed(1)
    latents, gradient = (torch.randn(n // SIDE**2, d, SIDE, SIDE, generator=generator) for _ in range(2))
    return latents * 0.01, gradient / n


def step(quantizer: NearestQuantizer, latents: Tensor, gradient: Tensor) -> Tensor:
    """Forward and backward; the gradient of the latents."""
    for parameter in quantizer.parameters():
        parameter.grad = None
    z = latents.clone().requires_grad_()
    if isinstance(quantizer, Published):
        out, losses = quantizer(z)
    else:
        found = quantizer(z)
        out, losses = found.latents, sum(found.losses.values())
    torch.autograd.backward([out, losses], [gradient, None])
    assert z.grad is not None
    return z.grad


def products(n: int, k: int, d: int) -> Callable[[], None]:
    """The matrix products of a step: search, compress, two blocks, recover; backward has two for each."""
    config = BridgedConfig.model_validate({"size": k, "width": d, "bridge": "L/8" if k > 20_000 else "L/4"})
    h, patch = config.hidden, config.patch**2 * d
    t = k * d // patch
    maps = [(patch, h), *[(h, 3 * h), (h, h), (h, 2 * h), (2 * h, h)] * config.depth, (h, patch)]
    given = {width: torch.randn(t, width) for pair in maps for width in pair}
    weights = [torch.randn(pair) for pair in maps]
    heads = torch.randn(HEADS, t, h // HEADS)
    shares = torch.empty(HEADS, 512, t)
    z_dn, codes_kd, costs = torch.randn(d, n), torch.randn(k, d), torch.empty(min(k, 2048), n)

    def run() -> None:
        for block_kd in codes_kd.split(2048):
            torch.mm(block_kd, z_dn, out=costs[: len(block_kd)])
        for weight in weights:
            x, y = given[weight.shape[0]], given[weight.shape[1]]
            _ = x @ weight, y @ weight.T, x.T @ y
        for _ in range(config.depth):
            for part in heads.split(512, 1):
                rows = shares[:, : part.shape[1]]
                for _ in range(3):  # q k^T; again, and the shares' gradient, in backward
                    torch.bmm(part, heads.transpose(1, 2), out=rows)
                for _ in range(4):  # times v; gradients of q, k, v
                    rows @ heads

    return run


def rivals(n: int, k: int, d: int) -> dict[str, Callable[[], object]]:
    """What takes turns."""
    pair = inputs(n, d)
    kinds = {"vqcli": NearestQuantizer, "published": Published}
    return {name: partial(step, made(kind, k, d), *pair) for name, kind in kinds.items()}


def peak(name: str, shape: list[int]) -> int:
    """Bytes that a step takes at most, gradients included, beside weights, latents and libraries."""
    rivals(SIDE**2, 1024, shape[2])[name]()  # which loads what a step calls
    run = rivals(*shape)[name]
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit


def memory(shape: list[int]) -> dict[str, int]:
    """The peak of both, each in a fresh process."""
    command = [sys.executable, __file__, "--child"]
    return {
        name: int(
            subprocess.run(
                [*command, name, *map(str, shape)], capture_output=True, text=True, check=True
            ).stdout
        )
        for name in ("vqcli", "published")
    }


def compare(n: int, k: int, d: int, repeats: int, peaks: dict[str, int]) -> dict[str, Any]:
    """Seconds of both, beside their memory."""
    found = race(rivals(n, k, d) | {"products alone": products(n, k, d)}, repeats)
    told = ", ".join(f"{name} {x / 2**20:,.0f} MiB" for name, x in peaks.items())
    return {"what": f"N={n:,} K={k:,} D={d}: {told}", "rivals": against(found), "peak_bytes": peaks}


def main() -> None:
    """Measure every shape."""
    asked = parser(__doc__)
    asked.add_argument("--vectors", type=int, default=4096, help="N; 1,024 at most above 100,000 codes")
    asked.add_argument("--codes", type=int, nargs="+", default=[16384, 262144], help="K")
    asked.add_argument("--widths", type=int, nargs="+", default=[64, 256], help="D")
    asked.add_argument("--quick", action="store_true", help="one small shape")
    asked.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        print(peak(options.child[0], [int(x) for x in options.child[1:]]))
        return
    widths, codes = ([64], [16384]) if options.quick else (options.widths, options.codes)
    shapes = [
        [min(options.vectors, 1024) if k > 100_000 else options.vectors, k, d] for k in codes for d in widths
    ]
    peaks = [memory(shape) for shape in shapes]  # first: a child starts with its parent's peak
    with neighbour(options.busy):
        report(options, [compare(*shape, options.repeats, of) for shape, of in zip(shapes, peaks)])


if __name__ == "__main__":
    main()
