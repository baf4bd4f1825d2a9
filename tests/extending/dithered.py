"""A quantizer: noise on the latents before the search, in training alone. N = B*h*w positions."""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vqcli.quantizers.base import (
    EstimatorConfig,
    Quantizer,
    by_image,
    estimate,
    flatten,
    sides,
    unflatten,
    vq_losses,
)
from vqcli.types import Quantized, Tokens


class DitheredQuantizer(Quantizer):
    """The nearest code of latents that get noise added in training."""

    class Config(EstimatorConfig):
        """Options of the dithered quantizer."""

        name: Literal["dithered"] = "dithered"
        noise: float = Field(0.1, ge=0)
        """Deviation of the noise."""

    TINY: ClassVar[dict[str, Any]] = {}
    DRAWS = True
    config: Config

    def quantize(self, latents: Tensor) -> Quantized:
        codes_kd, size, z_nd = self.codes(), sides(latents), flatten(latents)
        noisy_nd = z_nd + torch.randn_like(z_nd) * self.config.noise if self.training else z_nd
        tokens_n = self.codebook.assign(noisy_nd, codes_kd)
        chosen = unflatten(F.embedding(tokens_n, codes_kd), size)
        self.observe(z_nd, tokens_n)
        tokens = Tokens(by_image(tokens_n, latents), self.grid(*size))
        losses = vq_losses(self.config, latents, chosen)
        return Quantized(estimate(self.config, latents, chosen), tokens, losses)

    def assign(self, latents: Tensor) -> Tensor:
        return by_image(self.codebook.assign(flatten(latents), self.codes()), latents)
