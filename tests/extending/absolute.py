"""A metric: the mean absolute error of pixels."""

from typing import ClassVar, Literal

from torch import Tensor

from vqcli.config import PartConfig
from vqcli.metrics.base import PairMetric
from vqcli.metrics.psnr import unit_range


class AbsoluteError(PairMetric):
    """Mean absolute error of pixels in [0, 1]."""

    class Config(PartConfig):
        """It has no options."""

        name: Literal["mae"] = "mae"

    TITLES: ClassVar = {"mae": "MAE"}
    lower_is_better = True

    def measure(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        a, b = unit_range(images, reconstructions)
        return (a - b).abs().mean(dim=(1, 2, 3)).cpu().double()
