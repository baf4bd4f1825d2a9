"""LPIPS as a metric: how far reconstructions are from their images by the features of a network.

Paper: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
https://arxiv.org/abs/1801.03924, section 3; heads of version 0.1.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from vqcli.config import PartConfig
from vqcli.metrics.base import PairMetric
from vqcli.nn.lpips import Lpips


class LpipsDistance(PairMetric):
    """LPIPS 0.1: distance of features, 0 for equal images. Numbers of VGG and AlexNet cannot be compared."""

    class Config(PartConfig):
        """Options of LPIPS."""

        name: Literal["lpips"] = "lpips"
        net: Literal["alex", "vgg"] = "alex"
        """The network whose features are compared; tables of tokenizers have alex."""
        mapped_twice: bool = False
        """Map images from [-1, 1] by 2 x - 1 once more and do not clamp reconstructions: VQGAN-LC's script
        hands [-1, 1] to a library that expects [0, 1], and its published numbers come from that."""

    config: Config
    TITLES: ClassVar = {"lpips": "LPIPS"}

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.lpips: Lpips | None = None

    @property
    def network(self) -> str:
        return f"lpips-{self.config.net}"

    @property
    def lower_is_better(self) -> bool:
        return True

    def load(self, weights: dict[str, Tensor], device: torch.device) -> None:
        lpips = Lpips(self.config.net)
        lpips.load(weights)
        self.lpips = lpips.to(device).eval()

    @torch.no_grad()
    def measure(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Distances (B,)."""
        assert self.lpips is not None, "load comes first"
        found = self.lpips(self._prepared(images), self._prepared(reconstructions))
        return found.cpu().double()  # mps has no float64

    def _prepared(self, images: Tensor) -> Tensor:
        return 2 * images - 1 if self.config.mapped_twice else images.clamp(-1, 1)
