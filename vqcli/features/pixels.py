"""Features without a network: the pixels of a patch."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vqcli.config import LARGEST, PartConfig
from vqcli.features.base import Features


class PixelFeatures(Features):
    """Raw patches of pixels, which need no download."""

    class Config(PartConfig):
        """Options of pixel features."""

        name: Literal["pixels"] = "pixels"
        patch: int = Field(4, ge=1, le=LARGEST)
        """Side of a patch in pixels; its vector has 3 * patch * patch numbers, colour by colour."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.width = 3 * config.patch**2
        self.image_size = (32, 32) if 32 % config.patch == 0 else (8 * config.patch, 8 * config.patch)

    @property
    def title(self) -> str:
        return f"pixels of {self.config.patch}x{self.config.patch} patches"

    def grid(self, height: int, width: int) -> tuple[int, int]:
        patch = self.config.patch
        if height % patch or width % patch:
            raise ValueError(f"image sides must be multiples of {patch}")
        return height // patch, width // patch

    def forward(self, images: Tensor) -> Tensor:
        return F.unfold(images, self.config.patch, stride=self.config.patch).transpose(1, 2)
