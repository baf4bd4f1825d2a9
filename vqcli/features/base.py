"""The contract of features: what a grid of vectors says about an image.

Shape letters: B images, H, W sides in pixels, h, w sides of the grid, N = h*w vectors an image, F width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from vqcli.config import PartConfig


class Features(nn.Module, ABC):
    """Images (B, 3, H, W) in [-1, 1] to vectors (B, N, F), row-major; nothing here is trained."""

    Config: ClassVar[type[PartConfig]]
    POOL: ClassVar[int] = 1
    """Side of the squares of the grid that are averaged, where nobody says."""
    width: int
    """Width F of the vectors."""
    image_size: tuple[int, int]
    """(height, width) in pixels that images are brought to, where nobody says."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What they are, for people and for the file that is made of them."""

    @abstractmethod
    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Sides (h, w) of an image's grid. Raises ValueError for sizes it does not take."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Vectors (B, N, F) of images."""


def pooled_grid(grid: tuple[int, int], side: int) -> tuple[int, int]:
    """Sides of a grid whose squares of ``side`` x ``side`` became one. Raises ValueError if none fit."""
    h, w = grid
    if h % side or w % side:
        raise ValueError(f"a grid of {h}x{w} vectors is not made of squares of {side}x{side}")
    return h // side, w // side


def pool(vectors_bnf: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Average the squares of ``side`` x ``side`` neighbours of a grid, in float32."""
    if side == 1:
        return vectors_bnf
    b, _, width = vectors_bnf.shape
    squares = F.avg_pool2d(vectors_bnf.float().transpose(1, 2).reshape(b, width, *grid), side)
    return squares.flatten(2).transpose(1, 2)
