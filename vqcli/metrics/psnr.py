"""Peak signal-to-noise ratio: how far reconstructions are from their images, pixel by pixel.

Shape letters: B images, C channels, H, W sides in pixels.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from vqcli.config import PartConfig
from vqcli.metrics.base import PairMetric

LUMA = (65.481, 128.553, 24.966)
"""Of red, green and blue in [0, 1]: what they add to 16 in the luma of BT.601 with studio swing, of 255."""
LEVEL = 1 / 255
"""From one 8-bit value to the next."""


class Psnr(PairMetric):
    """Peak signal-to-noise ratio; a set's is the mean over its images, not that of their mean error."""

    class Config(PartConfig):
        """Options of PSNR."""

        name: Literal["psnr"] = "psnr"
        channel: Literal["rgb", "y"] = "rgb"
        """What is compared: three colours, or luma (BT.601, 16 to 235 of 255), which comes out higher."""

    config: Config
    TITLES: ClassVar = {"psnr": "PSNR (dB)"}

    @property
    def lower_is_better(self) -> bool:
        return False

    def measure(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Decibels (B,) of values clamped to [0, 1], with the peak 1: one mean squared error an image.

        Equal images count as if one value were one 8-bit level off: means stay finite.
        """
        if images.device.type == "mps":  # which has no float64
            images, reconstructions = images.cpu(), reconstructions.cpu()
        at_once = 1 if images.device.type == "cpu" else len(images)  # ten times faster there: no new pages
        pairs = zip(images.split(at_once), reconstructions.split(at_once), strict=True)
        return -10 * torch.cat([self._errors(*pair) for pair in pairs]).log10().cpu()

    def _errors(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Mean squared errors (B,), at least that of one value that is one level off."""
        a, b = unit_range(images.double(), reconstructions.double())
        if self.config.channel == "y":
            a, b = luma(a), luma(b)
        difference = a - b
        return difference.square().mean(dim=(1, 2, 3)).clamp(min=LEVEL**2 / difference[0].numel())


def unit_range(images: Tensor, reconstructions: Tensor) -> tuple[Tensor, Tensor]:
    """Both from [-1, 1] to [0, 1], and cut off there. Raises ValueError unless their shapes are one."""
    if images.shape != reconstructions.shape or images.ndim != 4:
        shapes = f"{tuple(reconstructions.shape)} cannot be compared to {tuple(images.shape)}"
        raise ValueError(f"images of shape {shapes}")
    a, b = (((each + 1) / 2).clamp(0, 1) for each in (images, reconstructions))
    return a, b


def luma(images: Tensor) -> Tensor:
    """RGB (B, 3, H, W) in [0, 1] as luma (B, 1, H, W) in [16/255, 235/255]."""
    weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
    return ((images * weights).sum(1, keepdim=True) + 16) / 255
