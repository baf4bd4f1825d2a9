"""Pixel losses: mean absolute and mean squared difference over all values."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from vqcli.losses.base import ImageLoss, ImageLossConfig


class L1Loss(ImageLoss):
    """Mean absolute difference of pixels (VQGAN's reconstruction loss)."""

    class Config(ImageLossConfig):
        """Options of the absolute loss."""

        name: Literal["l1"] = "l1"

    def forward(self, reconstruction: Tensor, images: Tensor) -> Tensor:
        return self.config.weight * F.l1_loss(reconstruction.float(), images)


class L2Loss(ImageLoss):
    """Mean squared difference of pixels (LlamaGen's reconstruction loss)."""

    class Config(ImageLossConfig):
        """Options of the squared loss."""

        name: Literal["l2"] = "l2"

    def forward(self, reconstruction: Tensor, images: Tensor) -> Tensor:
        return self.config.weight * F.mse_loss(reconstruction.float(), images)
