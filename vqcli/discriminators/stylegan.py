"""StyleGAN's discriminator: each image is judged as a whole; LlamaGen and FVQ offer it.

Papers: Karras et al., "StyleGAN2", https://arxiv.org/abs/1912.04958; Sun et al., "LlamaGen",
https://arxiv.org/abs/2406.06525.
Shape letters: B images, C channels, H, W sides, S side of an image in pixels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vqcli.config import WIDEST, PartConfig
from vqcli.discriminators.base import Discriminator
from vqcli.errors import VqcliError

LAST_SIDE = 4
"""Side of the map that is judged."""


class StyleGan(Discriminator):
    """Judges an image as a whole; (B, 3, S, S) -> (B, 1, 1, 1), where S is a power of two."""

    class Config(PartConfig):
        """Options of a StyleGAN discriminator."""

        name: Literal["stylegan"] = "stylegan"
        width: int = Field(512, ge=1, le=WIDEST)
        """Most channels: 4 to 32 pixels wide it has so many, half of them at 64, a quarter at 128, ..."""

    TINY: ClassVar[dict[str, Any]] = {"width": 8}

    def __init__(self, config: Config, image_size: tuple[int, int]) -> None:
        super().__init__(config, image_size)
        height, side = image_size
        if height != side or side < 2 * LAST_SIDE or side.bit_count() != 1:
            raise VqcliError(
                f"a stylegan discriminator takes no images of {height} x {side}",
                hint="square images whose side is a power of two, 8 at least, or a patchgan discriminator",
                reason="config",
            )
        sides = [side >> n for n in range(side.bit_length() - LAST_SIDE.bit_length() + 1)]
        widths = [max(1, min(config.width, 32 * config.width // s)) for s in sides]
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, padding=1), nn.LeakyReLU(0.2))
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in pairwise(widths)))
        last = widths[-1]
        self.head = nn.Sequential(
            nn.Conv2d(last, last, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(last * LAST_SIDE**2, last),
            nn.LeakyReLU(0.2),
            nn.Linear(last, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images)))[:, :, None, None]


class Block(nn.Module):
    """Halve the sides: two convolutions, a blur and a third, around a skip; (B, C, H, W)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(c_in, c_out, 1, stride=2)
        self.branch = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(c_out, c_out, 3, padding=1),
            nn.LeakyReLU(0.2),
            Blur(c_out),
            nn.Conv2d(c_out, c_out, 3, stride=2, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.branch(x) + self.skip(x)) * 0.5**0.5


class Blur(nn.Module):
    """Each channel over its neighbours, weighted [1, 2, 1] / 4 along either side, reflected at the border."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(line, line).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.kernel, groups=len(self.kernel))
