"""A loss: the Charbonnier difference of pixels, a square near 0 and a line further out."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from vqcli.losses.base import ImageLoss, ImageLossConfig


class CharbonnierLoss(ImageLoss):
    """A smooth absolute difference of pixels."""

    class Config(ImageLossConfig):
        """Options of the Charbonnier loss, beside its ``weight``."""

        name: Literal["charbonnier"] = "charbonnier"
        eps: float = Field(1e-3, gt=0)
        """Where it turns from a square into a line."""

    config: Config

    def forward(self, reconstruction: Tensor, images: Tensor) -> Tensor:
        difference, eps = reconstruction.float() - images, self.config.eps
        return self.config.weight * ((difference.square() + eps**2).sqrt() - eps).mean()
