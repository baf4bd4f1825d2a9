"""No quantizer: latents go on as they are. With it a tokenizer is a plain autoencoder, which makes no tokens.

Published are those of latent diffusion, https://arxiv.org/abs/2112.10752: their encoder gives a mean and a
log-variance of each latent, and generators see latents times a number (0.18215 in Stable Diffusion and DiT).
Shape letters: B images, D width, h, w sides of latents.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from vqcli.config import PartConfig
from vqcli.quantizers.base import Quantizer
from vqcli.quantizers.words import changes, no_codes
from vqcli.types import CodeSteps, Quantized, Tokens


class NoQuantizer(Quantizer):
    """Latents stay as they are: an autoencoder without a codebook, for generators of latents."""

    class Config(PartConfig):
        """Options of an autoencoder's latents."""

        name: Literal["none"] = "none"
        posterior: bool = False
        """Whether the encoder gives a mean and a log-variance of each latent, as latent diffusion's do. The
        mean is taken, in training too: nothing is drawn, and no loss asks for a distribution."""
        scale: float = Field(1.0, gt=0)
        """What latents are multiplied by, after ``shift`` is taken off: 0.18215 in Stable Diffusion."""
        shift: float = 0.0
        """What is taken off latents first."""

    TINY: ClassVar[dict[str, Any]] = {"posterior": True, "scale": 0.5, "shift": 0.1}
    DECIDES: ClassVar[tuple[str, ...]] = ("name", "posterior", "scale", "shift")
    EMPTY = True
    config: Config

    @property
    def moments(self) -> int:
        return 2 if self.config.posterior else 1

    def receive(self, features: Tensor) -> Tensor:
        return (features[:, : self.width].float() - self.config.shift) * self.config.scale

    def release(self, latents: Tensor) -> Tensor:
        return latents.float() / self.config.scale + self.config.shift

    def snap(self, latents: Tensor) -> Tensor:
        return latents

    def quantize(self, latents: Tensor) -> Quantized:
        ids = torch.zeros(len(latents), 0, dtype=torch.int64, device=latents.device)
        return Quantized(latents, Tokens(ids, ()), {})

    def assign(self, latents: Tensor) -> Tensor:
        raise no_codes()

    def lookup(self, tokens: Tokens) -> Tensor:
        raise no_codes()

    def code_steps(self) -> CodeSteps:
        raise no_codes()

    def require_table(self) -> None:
        raise no_codes()

    def start_from(self, other: Quantizer) -> str:
        old, new = other.deciding_fields(), self.deciding_fields()
        left_out = "the model's codebook is left out" if other.size else ""
        notes = [changes("the quantizer is", old["quantizer"], new["quantizer"]), left_out]
        return "; ".join(filter(None, notes))
