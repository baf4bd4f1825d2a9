"""A tokenizer's codes as generators see them, without values: where a recipe is only looked at.

Shape letters: B images, n tokens of a step, K codes, D code width, h, w sides of latents.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vqcli.types import Grid, TokenizerSpec


class Shapes:
    """Codes without values, where a recipe is only looked at."""

    def __init__(self, spec: TokenizerSpec) -> None:
        self.codes = torch.empty(spec.codebook_size, spec.width, device="meta")

    def code_steps(self) -> Shapes:
        """Itself."""
        return self

    def part(self, ids: Tensor, step: int, grid: Grid) -> Tensor:
        """Of the right shape."""
        return self.codes.new_empty(len(ids), self.codes.shape[1], *grid[-1])

    def blend(self, shares: Tensor, step: int, grid: Grid) -> Tensor:
        """Of the right shape."""
        return self.part(shares, step, grid)

    def seen(self, total: Tensor, size: tuple[int, int]) -> Tensor:
        """Of the right shape."""
        return total.new_empty(*total.shape[:2], *size)
