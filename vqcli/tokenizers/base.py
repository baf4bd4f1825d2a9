"""The tokenizer contract: encoder, quantizer, decoder.

Shape letters: B images, H, W their sides in pixels, h, w sides of latents, D code width, L tokens an image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vqcli.config import PartConfig
from vqcli.quantizers.base import Quantizer
from vqcli.types import CodeSteps, Grid, Latents, Made, Makes, Quantized, TokenizerSpec, Tokens


class Tokenizer(nn.Module, ABC):
    """Images (B, 3, H, W) in [-1, 1] to tokens and back."""

    Config: ClassVar[type[PartConfig]]
    TINY: ClassVar[dict[str, Any]]
    quantizer: Quantizer
    image_size: tuple[int, int] | None = None
    """(height, width) it was trained on, in pixels; set by who loads or trains it."""
    fingerprint: str = ""
    """Identity of its map from pixels to tokens; set by who loads or exports it."""

    @property
    @abstractmethod
    def config(self) -> PartConfig:
        """What rebuilds this tokenizer as it is now: baking changes the codebook."""

    @property
    @abstractmethod
    def downsample(self) -> int:
        """Pixels per latent side."""

    @property
    @abstractmethod
    def last_layer(self) -> Tensor:
        """The decoder's last weights: an adaptive adversarial weight compares gradients there."""

    @abstractmethod
    def latents(self, images: Tensor) -> Tensor:
        """Images -> latents (B, D, h, w) before quantization. Raises ValueError where ``grid`` does."""

    @abstractmethod
    def reconstruct(self, latents: Tensor) -> Tensor:
        """Latents as the quantizer returns them -> images, not clamped."""

    @abstractmethod
    def deciding_tensors(self) -> dict[str, Tensor]:
        """The named tensors that decide tokens: part of the fingerprint."""

    def deciding_fields(self) -> dict[str, Any]:
        """The options that decide tokens beside the tensors, as JSON values: part of the fingerprint."""
        return {"pixels": "RGB in [-1, 1]", **self.quantizer.deciding_fields()}

    @property
    def spec(self) -> TokenizerSpec:
        """What other parts must know of this tokenizer."""
        quantizer, size = self.quantizer, self.image_size
        grid = self.grid(*size) if size else None
        return TokenizerSpec(quantizer.size, quantizer.width, self.downsample, size, self.fingerprint, grid)

    def grid(self, height: int, width: int) -> Grid:
        """Token layout of an image of this many pixels. Raises ValueError if its sides do not divide."""
        f = self.downsample
        if height % f or width % f:
            raise ValueError(f"image sides must be multiples of {f}, not {height} x {width}")
        return self.quantizer.grid(height // f, width // f)

    def encode(self, images: Tensor) -> Tokens:
        """Images -> tokens."""
        return self.quantizer.tokenize(self.latents(images))

    def decode(self, tokens: Tokens) -> Tensor:
        """Tokens -> images, not clamped."""
        return self.reconstruct(self.quantizer.lookup(tokens))

    def decode_latents(self, latents: Tensor, quantize: bool) -> Tensor:
        """Latents (B, D, h, w) -> images; ``quantize`` moves each latent to its code first."""
        return self.reconstruct(self.quantizer.snap(latents) if quantize else latents)

    def roundtrip(self, images: Tensor) -> tuple[Tensor, Tokens | None]:
        """What becomes of images, not clamped, and their tokens; None of these without a codebook."""
        if not self.quantizer.size:
            return self.reconstruct(self.latents(images)), None
        tokens = self.encode(images)
        return self.decode(tokens), tokens

    def represent(self, images: Tensor, makes: Makes) -> Made:
        """Images -> what a generator sees of them: their tokens, or their latents before quantization."""
        return self.encode(images) if makes == "tokens" else Latents(self.latents(images))

    def render(self, made: Made, quantize: bool = True) -> Tensor:
        """What a generator made -> images, not clamped; ``quantize`` moves latents to their codes first.

        So VQGAN-LC's official code decodes what its diffusion models make, https://arxiv.org/abs/2406.11837.
        """
        if isinstance(made, Tokens):
            return self.decode(made)
        return self.decode_latents(made.standardized(None).values, quantize and not made.settled)

    def code_steps(self) -> CodeSteps:
        """The codes as generators see them that work step by step; computed once."""
        return self.quantizer.code_steps()

    def coarse_to_fine(self, tokens: Tokens) -> Iterator[Tensor]:
        """Images (B, 3, H, W) of the first step's tokens alone, of the first two steps', and on to all."""
        steps, total = self.code_steps(), torch.zeros((), device=tokens.ids.device)
        for step, ids in enumerate(tokens.ids.split([h * w for h, w in tokens.grid], dim=1)):
            total = total + steps.part(ids, step, tokens.grid)
            yield self.reconstruct(total)

    def forward(self, images: Tensor) -> tuple[Tensor, Quantized]:
        """Reconstruct images for training."""
        quantized = self.quantizer(self.latents(images))
        return self.reconstruct(quantized.latents), quantized

    def bake(self) -> None:
        """Replace the codebook by its codes, computed once: on export and before encoding many images."""
        self.quantizer.bake()
