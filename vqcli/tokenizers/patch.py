"""Patches of pixels through residual convolutions: a network for a CPU, no layer of which is large.

The first convolution takes a square of pixels at once, as a vision transformer does (Dosovitskiy et al.,
https://arxiv.org/abs/2010.11929, section 3.1), and the last gives one back (pixel shuffle, Shi et al.,
https://arxiv.org/abs/1609.05158). There is no published tokenizer of this form.
Shape letters: B images, H, W sides in pixels, P side of a patch, D code width, h, w sides of the latents.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vqcli.config import DEEPEST, WIDEST
from vqcli.nn.conv import GROUPS, Downsample, Level, Upsample, group_norm
from vqcli.tokenizers.autoencoder import (
    MOST_LEVELS,
    AutoencoderConfig,
    AutoencoderTokenizer,
    Decoder,
    Encoder,
)


class PatchConfig(AutoencoderConfig):
    """Shape of a patch tokenizer; its code width is the codebook's."""

    name: Literal["patch"] = "patch"
    patch: int = Field(4, ge=1, le=DEEPEST)
    """Side of a patch, in pixels."""
    channels: int = Field(64, ge=GROUPS, le=WIDEST)
    """Channels at the resolution of patches; a multiple of 32."""
    multipliers: tuple[int, ...] = Field((1,), min_length=1, max_length=MOST_LEVELS)
    """Channels of each level over ``channels``; every level but the last halves the sides."""
    res_blocks: int = Field(2, ge=1, le=DEEPEST)
    """Res blocks of each level, in encoder and decoder."""

    SIZES: ClassVar[dict[str, dict[str, Any]]] = {
        "patch-2": {"patch": 2, "channels": 32, "multipliers": (1,), "res_blocks": 2},
        "patch-4": {"patch": 4, "channels": 64, "multipliers": (1,), "res_blocks": 2},
    }


class PatchEncoder(Encoder):
    """Images (B, 3, H, W) -> latents (B, D, h, w)."""

    def __init__(self, config: PatchConfig, width: int) -> None:
        super().__init__(config.checkpointing)
        widths, last = config.widths, len(config.widths) - 1
        self.stem = nn.Conv2d(3, config.channels, config.patch, stride=config.patch)
        self.levels = nn.ModuleList()
        for i, (c_in, c_out) in enumerate(pairwise([config.channels, *widths])):
            resize = Downsample(c_out) if i < last else nn.Identity()
            self.levels.append(Level([c_in] + [c_out] * config.res_blocks, resize, attention=False))
        self.mid = nn.Identity()
        self.norm = group_norm(widths[-1])
        self.head = nn.Conv2d(widths[-1], width, 1)


class PatchDecoder(Decoder):
    """Latents (B, D, h, w) -> images (B, 3, H, W)."""

    def __init__(self, config: PatchConfig, width: int) -> None:
        super().__init__(config.checkpointing)
        widths, self.patch = config.widths, config.patch
        self.stem = nn.Conv2d(width, widths[-1], 3, padding=1)
        self.mid = nn.Identity()
        self.levels = nn.ModuleList()
        for i, (c_out, c_in) in enumerate(pairwise([*widths, widths[-1]])):
            resize = Upsample(c_out) if i else nn.Identity()
            self.levels.append(Level([c_in] + [c_out] * config.res_blocks, resize, attention=False))
        self.norm = group_norm(widths[0])
        self.head = nn.Conv2d(widths[0], 3 * config.patch**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(z), self.patch)


class PatchTokenizer(AutoencoderTokenizer):
    """A residual network over patches of pixels, with any codebook and quantizer."""

    Config = PatchConfig
    TINY: ClassVar[dict[str, Any]] = {
        "patch": 4,
        "channels": 32,
        "res_blocks": 1,
        "codebook": {"name": "learned", "size": 16, "width": 8},
        "quantizer": {"name": "nearest"},
    }
    DECIDES = ("name", "patch", "channels", "multipliers", "res_blocks")

    def __init__(self, config: PatchConfig) -> None:
        super().__init__(config)
        width = self.quantizer.width
        self.encoder = PatchEncoder(config, width * self.quantizer.moments)
        self.decoder = PatchDecoder(config, width)

    @property
    def downsample(self) -> int:
        config = self._config
        assert isinstance(config, PatchConfig)
        return config.patch * super().downsample
