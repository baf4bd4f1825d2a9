"""Perceptual loss: LPIPS of reconstructions and images.

Paper: Zhang et al., https://arxiv.org/abs/1801.03924; as a loss of VQ tokenizers since Esser et al., "Taming
Transformers", https://arxiv.org/abs/2012.09841, section 3.1.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from vqcli.losses.base import ImageLoss, ImageLossConfig
from vqcli.nn.lpips import SMALLEST, Lpips


class PerceptualLoss(ImageLoss):
    """Mean LPIPS distance of a batch. In training mode with dropout, as published training code has it."""

    class Config(ImageLossConfig):
        """Options of the perceptual loss."""

        name: Literal["perceptual"] = "perceptual"
        net: Literal["vgg", "alex"] = "vgg"
        """The network whose features are compared; published tokenizers were trained with vgg."""
        weights: str | None = None
        """File or folder with the network's weights (``--lpips-weights``); the published files otherwise."""
        eps: float = Field(1e-10, ge=0)
        """Added to the length of a feature vector; 1e-7 in VQGAN-LC."""
        dropout: float = Field(0.5, ge=0, lt=1)
        """Share of squared differences left out in training."""

    config: Config
    TINY: ClassVar = {"net": "alex"}

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.lpips = Lpips(config.net, eps=config.eps, dropout=config.dropout)

    @property
    def network(self) -> str:
        return self.lpips.name

    @property
    def smallest(self) -> int:
        return SMALLEST[self.config.net]

    def load(self, weights: dict[str, Tensor]) -> None:
        self.lpips.load(weights)

    def forward(self, reconstruction: Tensor, images: Tensor) -> Tensor:
        return self.config.weight * self.lpips(reconstruction, images).mean()
