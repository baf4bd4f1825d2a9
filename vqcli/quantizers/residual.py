"""Residual quantizer: each step quantizes what the steps before left over.

Paper: Lee et al., "RQ-VAE", https://arxiv.org/abs/2203.01941, section 3.1. All steps share one codebook.
A step may work at a coarser scale: see multiscale.py.
Shape letters: B images, D code width, h, w sides of latents, n positions of one step, K codes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor

from vqcli.config import DEEPEST
from vqcli.quantizers.base import EstimatorConfig, Quantizer, estimate, flatten, sides, unflatten, vq_losses
from vqcli.quantizers.compared import Compared
from vqcli.types import Grid, Quantized, Tokens

Size = tuple[int, int]


class ResidualQuantizer(Quantizer):
    """A sum of codes for every latent: ``depth`` tokens a position, step by step."""

    class Config(EstimatorConfig):
        """Options of the residual quantizer."""

        name: Literal["residual"] = "residual"
        depth: int = Field(4, ge=1, le=DEEPEST)
        """Steps, and tokens of each position."""

    TINY: ClassVar[dict[str, Any]] = {"depth": 2}
    DECIDES: ClassVar[tuple[str, ...]] = ("name", "depth")
    config: Config

    def grid(self, height: int, width: int) -> Grid:
        return ((height, width),) * self.config.depth

    def grow(self, chosen: Tensor, step: int, size: Size) -> Tensor:
        """What a step's codes add to the sum, at full size."""
        return chosen

    def length(self, step: int) -> Tensor | float:
        """How long a step's codes are, over those of the codebook; () or (D,)."""
        return self.codebook.scale(step)

    def place(self, chosen_nd: Tensor, step: int, grid: Grid) -> Tensor:
        return self.grow(unflatten(scaled(chosen_nd, self.length(step)), grid[step]), step, grid[-1])

    def steps(self, latents: Tensor, codes_kd: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Per step: vectors compared (n, D), tokens (n,), running sum (B, D, h, w)."""
        grid = self.grid(*sides(latents))
        rest, total = latents.detach(), torch.zeros_like(latents)
        for step, size in enumerate(grid):
            z_nd = scaled(flatten(self.shrink(rest, size)), 1 / self.length(step))
            tokens_n = self.codebook.assign(z_nd, codes_kd)
            part = self.part(tokens_n, codes_kd, step, grid)
            total, rest = total + part, rest - part.detach()
            yield z_nd, tokens_n, total

    def sums(self, tokens: Tokens) -> Iterator[Tensor]:
        """The running sum (B, D, h, w) after each step."""
        codes_kd, batch, grid = self.codes(), len(tokens.ids), tokens.grid
        total = codes_kd.new_zeros(batch, self.width, *grid[-1])
        for step, ids in enumerate(tokens.ids.split([h * w for h, w in grid], dim=1)):
            total = total + self.part(ids.flatten(), codes_kd, step, grid)
            yield total

    def quantize(self, latents: Tensor) -> Quantized:
        vectors, tokens, totals = zip(*self.steps(latents, self.codes()))
        self.observe(torch.cat(vectors), torch.cat(tokens))
        each = [vq_losses(self.config, latents, total) for total in totals]
        losses = {name: torch.stack([step[name] for step in each]).mean() for name in each[0]}
        grid = self.grid(*sides(latents))
        latents = estimate(self.config, latents, totals[-1])
        return Quantized(latents, Tokens(join(tokens, grid), grid), losses)

    def assign(self, latents: Tensor) -> Tensor:
        tokens = [tokens_n for _, tokens_n, _ in self.steps(latents, self.codes())]
        return join(tokens, self.grid(*sides(latents)))

    def vectors(self, latents: Tensor, codes_kd: Tensor) -> Compared:
        return Compared(torch.cat([z_nd for z_nd, _, _ in self.steps(latents, codes_kd)]))

    def restore(self, tokens: Tokens) -> Tensor:
        *_, total = self.sums(tokens)
        return total


def scaled(vectors_nd: Tensor, factor: Tensor | float) -> Tensor:
    """Vectors times a factor; no copy for 1."""
    return vectors_nd if isinstance(factor, float) and factor == 1 else vectors_nd * factor


def join(steps: Sequence[Tensor], grid: Grid) -> Tensor:
    """Tokens of each step (B*h*w,) -> (B, L)."""
    return torch.cat([rearrange(x, "(b n) -> b n", n=h * w) for x, (h, w) in zip(steps, grid)], dim=1)
