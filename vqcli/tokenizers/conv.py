"""The convolutional VQGAN family: one network for VQGAN, LlamaGen VQ, VQGAN-LC, FVQ, IBQ and VAR's tokenizer.

Papers: Esser et al., https://arxiv.org/abs/2012.09841; Sun et al., "LlamaGen", https://arxiv.org/abs/2406.06525.
Shape letters: B images, H, W sides in pixels, h, w sides of the latents, D code width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli.config import DEEPEST, WIDEST
from vqcli.errors import VqcliError
from vqcli.nn.conv import Downsample, Level, Upsample, group_norm, middle
from vqcli.tokenizers.autoencoder import AutoencoderConfig, AutoencoderTokenizer, Decoder, Encoder


def _size(
    channels: int, multipliers: tuple[int, ...], z_channels: int, res_blocks: int = 2
) -> dict[str, Any]:
    """A network with attention at its lowest level, as all published ones have."""
    return {
        "channels": channels,
        "multipliers": multipliers,
        "z_channels": z_channels,
        "res_blocks": res_blocks,
        "attention_levels": (len(multipliers) - 1,),
    }


class ConvConfig(AutoencoderConfig):
    """Shape of a convolutional tokenizer; its code width is the codebook's."""

    name: Literal["conv"] = "conv"
    res_blocks: int = Field(2, ge=1, le=DEEPEST)
    """Res blocks of each encoder level; the decoder has one more."""
    attention_levels: tuple[int, ...] = (4,)
    """Levels (0 is full resolution) with attention after each res block."""
    z_channels: int = Field(256, ge=1, le=WIDEST)
    """Channels between the networks and the convolutions around the quantizer."""
    quant_conv: Literal[0, 1, 3] = 1
    """Kernel of the convolutions between ``z_channels`` and the code width; 0 for none."""

    SIZES: ClassVar[dict[str, dict[str, Any]]] = {
        "vq-8": _size(128, (1, 2, 2, 4), 256),
        "vq-16": _size(128, (1, 1, 2, 2, 4), 256),
        "vq-16-res4": _size(128, (1, 1, 2, 2, 4), 256, res_blocks=4),
        "vq-16-z512": _size(128, (1, 1, 2, 2, 4), 512),
        "vq-16-ch64": _size(64, (1, 2, 4, 8, 8), 512),
        "vq-32": _size(128, (1, 1, 2, 2, 4, 4), 256),
        "vq-64-ch64": _size(64, (1, 2, 4, 4, 8, 8, 16), 512),
        "small-4": _size(32, (1, 1, 2), 64, res_blocks=1),
        "tiny": _size(32, (1, 1, 1), 32, res_blocks=1),
    }

    @model_validator(mode="after")
    def attention_fits(self) -> ConvConfig:
        """Attention stands at levels there are."""
        levels = len(self.multipliers)
        if not all(0 <= level < levels for level in self.attention_levels):
            raise ValueError(f"attention_levels must lie between 0 and {levels - 1}, the lowest resolution")
        return self


class ConvEncoder(Encoder):
    """Images (B, 3, H, W) -> (B, channels, h, w)."""

    def __init__(self, config: ConvConfig, channels: int) -> None:
        super().__init__(config.checkpointing)
        widths, last = config.widths, len(config.widths) - 1
        self.stem = nn.Conv2d(3, config.channels, 3, padding=1)
        self.levels = nn.ModuleList()
        for i, (c_in, c_out) in enumerate(pairwise([config.channels, *widths])):
            resize = Downsample(c_out) if i < last else nn.Identity()
            chain = [c_in] + [c_out] * config.res_blocks
            self.levels.append(Level(chain, resize, attention=i in config.attention_levels))
        self.mid = middle(widths[-1])
        self.norm = group_norm(widths[-1])
        self.head = nn.Conv2d(widths[-1], channels, 3, padding=1)


class ConvDecoder(Decoder):
    """(B, z_channels, h, w) -> images (B, 3, H, W)."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config.checkpointing)
        widths = config.widths
        self.stem = nn.Conv2d(config.z_channels, widths[-1], 3, padding=1)
        self.mid = middle(widths[-1])
        self.levels = nn.ModuleList()
        for i, (c_out, c_in) in enumerate(pairwise([*widths, widths[-1]])):
            resize = Upsample(c_out) if i else nn.Identity()
            chain = [c_in] + [c_out] * (config.res_blocks + 1)
            self.levels.append(Level(chain, resize, attention=i in config.attention_levels))
        self.norm = group_norm(widths[0])
        self.head = nn.Conv2d(widths[0], 3, 3, padding=1)


class ConvTokenizer(AutoencoderTokenizer):
    """The convolutional VQGAN network with any codebook and quantizer."""

    Config = ConvConfig
    TINY: ClassVar[dict[str, Any]] = {
        "network": "tiny",
        "codebook": {"name": "learned", "size": 16, "width": 8},
        "quantizer": {"name": "nearest"},
    }
    DECIDES = (
        "name",
        "channels",
        "multipliers",
        "res_blocks",
        "attention_levels",
        "z_channels",
        "quant_conv",
    )

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config)
        kernel, z, d = config.quant_conv, config.z_channels, self.quantizer.width
        if not kernel and z != d:
            raise VqcliError(
                f"without quant_conv, z_channels ({z}) must be the code width ({d})",
                hint=f"set z_channels to {d}, or quant_conv to 1",
                reason="config",
            )
        moments = self.quantizer.moments
        self.encoder, self.decoder = ConvEncoder(config, z * moments), ConvDecoder(config)
        self.quant_conv = (
            nn.Conv2d(z * moments, d * moments, kernel, padding=kernel // 2) if kernel else nn.Identity()
        )
        self.post_quant_conv = nn.Conv2d(d, z, kernel, padding=kernel // 2) if kernel else nn.Identity()

    def features(self, images: Tensor) -> Tensor:
        return self.quant_conv(super().features(images))

    def decoded(self, latents: Tensor) -> Tensor:
        return super().decoded(self.post_quant_conv(latents))
