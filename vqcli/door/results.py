"""What models give to Python programs. No torch here.

Shape letters: N images, L tokens an image, D width of latents, H, W sides in pixels, h, w sides of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from vqcli.types import Grid


@dataclass(frozen=True, eq=False)
class ImageTokens:
    """Tokens of images, as ``NAME.npy`` holds them."""

    tokens: np.ndarray
    """(N, h, w), or (N, L) where the grid has several entries; the smallest integer type that fits."""
    grid: Grid
    """Layout of the tokens of an image, coarse to fine."""
    codebook_size: int
    fingerprint: str
    """Of the tokenizer; empty where nobody told which it is."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images that a model made."""

    array: np.ndarray
    """uint8 (N, H, W, 3), RGB."""

    @property
    def images(self) -> list[Image.Image]:
        """The same as images of Pillow."""
        return [Image.fromarray(pixels) for pixels in self.array]

    def __len__(self) -> int:
        return len(self.array)


@dataclass(frozen=True, eq=False)
class GeneratedPictures(Pictures):
    """Images that a generator made, class by class, and what they were decoded from."""

    labels: np.ndarray
    """int64 (N,), the number of each image's class."""
    indices: np.ndarray
    """int64 (N,), the number of each image in its class: with ``seed`` it tells its random numbers."""
    seed: int
    names: dict[int, str]
    """Name of every class that was asked for; empty where nobody told it."""
    tokens: np.ndarray | None
    """As ``ImageTokens`` has them; None of a generator of latents."""
    latents: np.ndarray | None
    """float32 (N, D, h, w), as the tokenizer has them; None of a generator of tokens."""
    grid: Grid
    codebook_size: int
    """Of the tokenizer."""
    fingerprint: str
    """Of the tokenizer."""


@dataclass(frozen=True, eq=False)
class Classified:
    """What a classifier takes images for, likeliest first."""

    labels: np.ndarray
    """int64 (N, R), numbers of classes."""
    probabilities: np.ndarray
    """float32 (N, R)."""
    names: list[list[str]]
    """Of the same classes, image by image; empty where nobody told them."""

    def __len__(self) -> int:
        return len(self.labels)
