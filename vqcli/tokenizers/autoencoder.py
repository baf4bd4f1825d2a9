"""What convolutional tokenizers share: an encoder and a decoder of levels around a quantizer.

Shape letters: B images, H, W sides in pixels, C channels and h, w sides of the latents.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vqcli.config import WIDEST, PartConfig
from vqcli.nn.conv import GROUPS
from vqcli.registry import CodebookConfig, QuantizerConfig, build
from vqcli.tokenizers.base import Tokenizer

MOST_LEVELS = 12
"""Levels: every one but the last halves the sides."""


class AutoencoderConfig(PartConfig):
    """Shape of a tokenizer made of levels; its code width is the codebook's."""

    channels: int = Field(128, ge=GROUPS, le=WIDEST)
    """Channels at full resolution; a multiple of 32."""
    multipliers: tuple[int, ...] = Field((1, 1, 2, 2, 4), min_length=1, max_length=MOST_LEVELS)
    """Channels of each level over ``channels``; every level but the last halves the sides."""
    checkpointing: bool = False
    """Recompute the activations of each level in the backward pass: less memory, same result."""
    codebook: CodebookConfig
    quantizer: QuantizerConfig

    DIAL: ClassVar[str] = "network"

    @property
    def widths(self) -> list[int]:
        """Channels of each level."""
        return [self.channels * m for m in self.multipliers]

    @model_validator(mode="after")
    def groups_fit(self) -> AutoencoderConfig:
        """Norms work on groups of channels."""
        wrong = [c for c in (self.channels, *self.widths) if c % GROUPS or not 1 <= c <= WIDEST]
        if wrong:
            raise ValueError(
                f"channels of every level must be multiples of {GROUPS} up to {WIDEST}, not {wrong[0]}"
            )
        return self


class Network(nn.Module):
    """Stem, levels, middle, norm and head, in the order that an encoder or a decoder has them.

    ``levels[0]`` is full resolution in both.
    """

    stem: nn.Module
    levels: nn.ModuleList
    mid: nn.Module
    norm: nn.Module
    head: nn.Conv2d

    def __init__(self, checkpointing: bool) -> None:
        super().__init__()
        self.checkpointing = checkpointing

    def run(self, level: nn.Module, *inputs: Tensor) -> Tensor:
        """``level(*inputs)``, keeping no activations where they are to be recomputed."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(level, *inputs, use_reentrant=False, preserve_rng_state=False)
        return level(*inputs)


class Encoder(Network):
    """Images (B, 3, H, W) -> (B, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for level in self.levels:
            x = self.run(level, x)
        return self.head(F.silu(self.norm(self.mid(x))))


class Decoder(Network):
    """(B, C, h, w) -> images (B, 3, H, W)."""

    def style(self, z: Tensor) -> tuple[Tensor, ...]:
        """What every level is given of the decoder's input, beside what the level before it made."""
        return ()

    def forward(self, z: Tensor) -> Tensor:
        style, x = self.style(z), self.mid(self.stem(z))
        for level in reversed(self.levels):
            x = self.run(level, x, *style)
        return self.head(F.silu(self.norm(x)))


class AutoencoderTokenizer(Tokenizer):
    """A tokenizer that is an encoder, a quantizer and a decoder; a subclass makes the networks."""

    DECIDES: ClassVar[tuple[str, ...]]
    """Options that decide tokens; a later one that does not leaves fingerprints of older models alone."""
    encoder: Encoder
    decoder: Decoder

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self._config = config
        self.quantizer = build("quantizers", config.quantizer, build("codebooks", config.codebook))

    @property
    def config(self) -> AutoencoderConfig:
        return self._config.model_copy(update={"codebook": self.quantizer.codebook_config})

    @property
    def downsample(self) -> int:
        return 2 ** (len(self._config.multipliers) - 1)

    @property
    def last_layer(self) -> Tensor:
        return self.decoder.head.weight

    def latents(self, images: Tensor) -> Tensor:
        self.grid(*images.shape[2:])
        return self.quantizer.receive(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """What the quantizer makes latents of, (B, moments * D, h, w)."""
        return self.encoder(images)

    def reconstruct(self, latents: Tensor) -> Tensor:
        return self.decoded(self.quantizer.release(latents))

    def decoded(self, latents: Tensor) -> Tensor:
        """Images of latents (B, D, h, w) at the scale they were trained at."""
        return self.decoder(latents)

    def deciding_tensors(self) -> dict[str, Tensor]:
        deciding = ("encoder.", "quant_conv.")
        own = {name: x for name, x in self.state_dict().items() if name.startswith(deciding)}
        return own | {f"quantizer.{name}": x for name, x in self.quantizer.deciding_tensors().items()}

    def deciding_fields(self) -> dict[str, Any]:
        own = self._config.model_dump(mode="json", include=set(self.DECIDES))
        return {"network": own, **super().deciding_fields()}
