"""The contract of losses that compare a reconstruction with its image.

Shape letters: B images, H, W sides in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from vqcli.config import PartConfig


class ImageLossConfig(PartConfig):
    """What every such loss has."""

    weight: float = Field(1.0, ge=0)
    """Factor of the loss."""


class ImageLoss(nn.Module, ABC):
    """Compares images (B, 3, H, W) in [-1, 1]."""

    Config: ClassVar[type[ImageLossConfig]]
    TINY: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: ImageLossConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def network(self) -> str:
        """Name of the published network that it compares features of; empty where it has none."""
        return ""

    @property
    def smallest(self) -> int:
        """Pixels a side that images need."""
        return 1

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of ``network``, as they were published. Raises VqcliError if they do not fit."""
        raise NotImplementedError

    @abstractmethod
    def forward(self, reconstruction: Tensor, images: Tensor) -> Tensor:
        """The weighted loss, a scalar."""
