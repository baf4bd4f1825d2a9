"""The improved (MAGVIT-v2 style) family: one network for Open-MAGVIT2 and SimVQ.

Unlike ``conv`` it has no attention, no biases in res blocks, and no convolutions around the quantizer: the
encoder's head gives latents of the code width. Open-MAGVIT2's decoder has adaptive norms, SimVQ's has none.
Papers: Luo et al., "Open-MAGVIT2", https://arxiv.org/abs/2409.04410; Zhu et al., "SimVQ",
https://arxiv.org/abs/2411.02038.
Shape letters: B images, H, W sides in pixels, D code width, h, w sides of the latents.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from vqcli.config import DEEPEST
from vqcli.nn.conv import Level, group_norm
from vqcli.nn.improved import AdaptiveLevel, Upsample, downsample, middle, statistics
from vqcli.tokenizers.autoencoder import AutoencoderConfig, AutoencoderTokenizer, Decoder, Encoder


def _size(channels: int, multipliers: tuple[int, ...], res_blocks: int, adaptive: bool) -> dict[str, Any]:
    return {
        "channels": channels,
        "multipliers": multipliers,
        "res_blocks": res_blocks,
        "adaptive": adaptive,
    }


class ImprovedConfig(AutoencoderConfig):
    """Shape of an improved tokenizer; its code width is the codebook's."""

    name: Literal["improved"] = "improved"
    res_blocks: int = Field(4, ge=1, le=DEEPEST)
    """Res blocks of each level, and in the middle, of encoder and decoder."""
    adaptive: bool = True
    """Norm what enters each decoder level, scaled and shifted by the spread and mean of the latents."""

    SIZES: ClassVar[dict[str, dict[str, Any]]] = {
        "open-magvit2-16": _size(128, (1, 1, 2, 2, 4), 4, True),
        "open-magvit2-8": _size(128, (1, 2, 2, 4), 4, True),
        "simvq-8": _size(128, (1, 2, 2, 4), 2, False),
        "improved-small-4": _size(32, (1, 1, 2), 2, False),
        "improved-tiny": _size(32, (1, 1, 1), 1, True),
    }


class ImprovedEncoder(Encoder):
    """Images (B, 3, H, W) -> latents (B, D, h, w)."""

    def __init__(self, config: ImprovedConfig, width: int) -> None:
        super().__init__(config.checkpointing)
        widths, last = config.widths, len(config.widths) - 1
        self.stem = nn.Conv2d(3, config.channels, 3, padding=1, bias=False)
        self.levels = nn.ModuleList()
        for i, (c_in, c_out) in enumerate(pairwise([config.channels, *widths])):
            resize = downsample(c_out) if i < last else nn.Identity()
            chain = [c_in] + [c_out] * config.res_blocks
            self.levels.append(Level(chain, resize, attention=False, bias=False))
        self.mid = middle(widths[-1], config.res_blocks)
        self.norm = group_norm(widths[-1])
        self.head = nn.Conv2d(widths[-1], width, 1)


class ImprovedDecoder(Decoder):
    """Latents (B, D, h, w) -> images (B, 3, H, W)."""

    def __init__(self, config: ImprovedConfig, width: int) -> None:
        super().__init__(config.checkpointing)
        widths, self.adaptive = config.widths, config.adaptive
        self.stem = nn.Conv2d(width, widths[-1], 3, padding=1)
        self.mid = middle(widths[-1], config.res_blocks)
        self.levels = nn.ModuleList()
        for i, (c_out, c_in) in enumerate(pairwise([*widths, widths[-1]])):
            resize = Upsample(c_out) if i else nn.Identity()
            chain = [c_in] + [c_out] * config.res_blocks
            self.levels.append(
                AdaptiveLevel(chain, resize, width=width)
                if config.adaptive
                else Level(chain, resize, attention=False, bias=False)
            )
        self.norm = group_norm(widths[0])
        self.head = nn.Conv2d(widths[0], 3, 3, padding=1)

    def style(self, z: Tensor) -> tuple[Tensor, ...]:
        return statistics(z) if self.adaptive else ()


class ImprovedTokenizer(AutoencoderTokenizer):
    """The improved (MAGVIT-v2 style) network with any codebook and quantizer."""

    Config = ImprovedConfig
    TINY: ClassVar[dict[str, Any]] = {
        "network": "improved-tiny",
        "codebook": {"name": "learned", "size": 16, "width": 8},
        "quantizer": {"name": "nearest"},
    }
    DECIDES = ("name", "channels", "multipliers", "res_blocks")

    def __init__(self, config: ImprovedConfig) -> None:
        super().__init__(config)
        width = self.quantizer.width
        self.encoder = ImprovedEncoder(config, width * self.quantizer.moments)
        self.decoder = ImprovedDecoder(config, width)
