"""Structural similarity: how alike images are in brightness, contrast and structure, window by window.

Paper: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE
Transactions on Image Processing 13(4), 2004, section III.
Shape letters: B images, C channels, H, W sides in pixels, h, w sides in windows, T taps of a window.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vqcli.config import PartConfig
from vqcli.metrics.base import PairMetric
from vqcli.metrics.psnr import unit_range

TAPS = {"gaussian": 11, "uniform": 7}
"""Pixels a side of a window."""
SIGMA = 1.5
"""Of the Gaussian window, in pixels."""
K1, K2 = 0.01, 0.03
"""Shares of the data range that keep the two quotients from 0 / 0."""
SCALED_FROM = 256
"""Images of about so many pixels a side are compared as they are, of twice as many at half their size."""


class Ssim(PairMetric):
    """Structural similarity, 1 for equal images: the mean over windows inside an image and over channels."""

    class Config(PartConfig):
        """Options of SSIM."""

        name: Literal["ssim"] = "ssim"
        window: Literal["gaussian", "uniform"] = "gaussian"
        """11x11 pixels weighed by a Gaussian of 1.5 pixels, with the covariances of a population; or 7x7 that
        weigh alike, with those of a sample (scikit-image's default)."""
        data_range: Literal[1, 2] = 1
        """What values in [0, 1] are taken to span; 2, as LlamaGen and FVQ have it, comes out higher."""
        downsample: bool = False
        """First average over squares of as many pixels as the shorter side has times 256, rounded (piq)."""

    config: Config
    TITLES: ClassVar = {"ssim": "SSIM"}

    @property
    def lower_is_better(self) -> bool:
        return False

    @property
    def smallest(self) -> int:
        """Pixels a side that images need."""
        return TAPS[self.config.window]

    def measure(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """SSIM (B,) of values clamped to [0, 1]."""
        a, b = unit_range(images, reconstructions)
        height, width = a.shape[2:]
        if min(height, width) < self.smallest:
            raise ValueError(f"images of {height}x{width} pixels: SSIM needs {self.smallest}x{self.smallest}")
        factor = max(1, round(min(height, width) / SCALED_FROM)) if self.config.downsample else 1
        if factor > 1:
            a, b = F.avg_pool2d(a, factor), F.avg_pool2d(b, factor)
        taps_t, correction = self._window()
        at_once = 1 if a.device.type == "cpu" else len(a)  # one image fits a core's cache: six times faster
        pairs = zip(a.split(at_once), b.split(at_once))
        found = [_similarity(x, y, taps_t, correction, self.config.data_range) for x, y in pairs]
        return torch.cat(found).cpu().double()  # mps has no float64

    def _window(self) -> tuple[list[float], float]:
        """One side of the window, which is separable, and by what covariances are multiplied."""
        taps = TAPS[self.config.window]
        if self.config.window == "uniform":
            return [1 / taps] * taps, taps**2 / (taps**2 - 1)
        weights = torch.exp(-((torch.arange(taps) - taps // 2).double() ** 2) / (2 * SIGMA**2))
        return (weights / weights.sum()).tolist(), 1.0


def _similarity(a: Tensor, b: Tensor, taps_t: list[float], correction: float, data_range: float) -> Tensor:
    """Mean SSIM (B,) of images (B, C, H, W) in [0, 1].

    It is written with m = (a + b) / 2 and d = a - b: (2 x y + c) / (x^2 + y^2 + c) is 1 - (x - y)^2 / (x^2 +
    y^2 + c), for means and for covariances. Variances are differences of two larger numbers; those of d are
    as small as d, so that float32 suffices, and images that are equal come to 1.
    """
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    m, d = (a + b) / 2 - 0.5, a - b
    mean_m, mean_d, square_m, square_d = _filtered(torch.stack([m, d, m * m, d * d]), taps_t)
    variance_m = correction * (square_m - mean_m * mean_m)
    variance_d = correction * (square_d - mean_d * mean_d)
    brightness = mean_d * mean_d / (2 * (mean_m + 0.5).square() + mean_d * mean_d / 2 + c1)
    structure = variance_d / (2 * variance_m + variance_d / 2 + c2)
    return ((1 - brightness) * (1 - structure)).mean(dim=(1, 2, 3))


def _filtered(maps: Tensor, taps_t: list[float]) -> Tensor:
    """Weighted means of (..., H, W) over every window inside, (..., h, w), an axis at a time."""
    last = len(taps_t) - 1
    for dim in (-1, -2):
        size = maps.shape[dim] - last
        total = maps.narrow(dim, last // 2, size) * taps_t[last // 2]
        for i, weight in enumerate(taps_t[: last // 2]):
            total.add_(maps.narrow(dim, i, size) + maps.narrow(dim, last - i, size), alpha=weight)
        maps = total
    return maps
