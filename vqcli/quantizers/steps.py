"""A quantizer's codes as generators and classifiers see them that work step by step.

Shape letters: B images, n tokens of a step, K codes, D code width, h, w sides of latents.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vqcli.types import Grid


class Steps:
    """A quantizer's codes, computed once; no module, so that it is no part of a generator that holds it."""

    def __init__(self, quantizer: Any) -> None:
        with torch.no_grad():
            self.quantizer, self.codes = quantizer, quantizer.codes().detach()

    def part(self, ids: Tensor, step: int, grid: Grid) -> Tensor:
        return self.quantizer.part(ids.flatten(), self.codes, step, grid)

    def blend(self, shares: Tensor, step: int, grid: Grid) -> Tensor:
        return self.quantizer.place(shares.flatten(0, 1).to(self.codes) @ self.codes, step, grid)

    def seen(self, total: Tensor, size: tuple[int, int]) -> Tensor:
        return self.quantizer.shrink(total, size)

    def __deepcopy__(self, memo: dict[int, Any]) -> Steps:
        return self  # what averages a generator copies it, but not its tokenizer
