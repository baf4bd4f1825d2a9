"""The contract of discriminators: networks that tell images from reconstructions.

Shape letters: B images, H, W sides in pixels, h, w sides of the map of logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from vqcli.config import PartConfig


class Discriminator(nn.Module, ABC):
    """Images (B, 3, H, W) in [-1, 1] to logits, high where it takes them for real ones."""

    Config: ClassVar[type[PartConfig]]
    TINY: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: Any, image_size: tuple[int, int]) -> None:
        """Build it for images of this (height, width). Raises VqcliError if it takes none of this size."""
        super().__init__()

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 1, h, w), one for each patch; h = w = 1 where an image is judged as a whole."""
