"""Nearest-code quantizer: every latent becomes its closest code.

Paper: Esser et al., "Taming Transformers", https://arxiv.org/abs/2012.09841, section 3.1.
Shape letters: B images, D code width, N = B*h*w positions, K codes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vqcli.codebooks.base import Codebook
from vqcli.errors import VqcliError
from vqcli.nn.entropy import entropy_loss
from vqcli.nn.estimators import replace_value
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
from vqcli.quantizers.compared import Compared
from vqcli.types import Quantized, Tokens


class NearestQuantizer(Quantizer):
    """Every latent becomes its closest code: one token a position."""

    class Config(EstimatorConfig):
        """Options of the nearest-code quantizer."""

        name: Literal["nearest"] = "nearest"
        metric: Literal["l2", "cosine"] = "l2"
        """Cosine scales latents and codes to length 1 first (LlamaGen VQ), and returns length 1 too."""
        entropy_weight: float = Field(0.0, ge=0)
        """Weight of the entropy penalty (LFQ: 0.1); it costs K numbers for every latent."""
        entropy_temperature: float = Field(0.01, gt=0)
        """Temperature of the probabilities in that penalty."""

    TINY: ClassVar[dict[str, Any]] = {"entropy_weight": 0.1}
    DECIDES: ClassVar[tuple[str, ...]] = ("name", "metric")
    config: Config

    def __init__(self, config: Config, codebook: Codebook) -> None:
        if config.metric == "cosine" and not codebook.HAS_DIRECTION:
            raise VqcliError(
                f"metric cosine needs codes that are never zero; a codebook '{codebook.name}' has such codes",
                hint="use metric l2, or another codebook",
                reason="config",
            )
        super().__init__(config, codebook)

    def codes(self) -> Tensor:
        codes_kd = super().codes()
        return unit_length(codes_kd) if self.config.metric == "cosine" else codes_kd

    def normalize(self, latents: Tensor) -> Tensor:
        """Latents of length 1 where the metric is cosine."""
        return F.normalize(latents, dim=1) if self.config.metric == "cosine" else latents

    def quantize(self, latents: Tensor) -> Quantized:
        config, latents, codes_kd = self.config, self.normalize(latents), self.codes()
        z_nd, size = flatten(latents), sides(latents)
        tokens_n = self.codebook.assign(z_nd, codes_kd)
        chosen = unflatten(F.embedding(tokens_n, codes_kd), size)
        self.observe(z_nd, tokens_n)
        losses = vq_losses(config, latents, chosen)
        if config.entropy_weight:
            entropy = entropy_loss(z_nd, codes_kd, "l2", config.entropy_temperature)
            losses["entropy"] = config.entropy_weight * entropy
        tokens = Tokens(by_image(tokens_n, latents), self.grid(*size))
        return Quantized(estimate(config, latents, chosen), tokens, losses)

    def assign(self, latents: Tensor) -> Tensor:
        tokens_n = self.codebook.assign(flatten(self.normalize(latents)), self.codes())
        return by_image(tokens_n, latents)

    def vectors(self, latents: Tensor, codes_kd: Tensor) -> Compared:
        return Compared(flatten(self.normalize(latents)))


def unit_length(codes_kd: Tensor) -> Tensor:
    """Codes of length 1; what has it, but for rounding, stays as it is: twice is once, to the last bit."""
    unit_kd = F.normalize(codes_kd, dim=1)
    near = (codes_kd.norm(dim=1, keepdim=True) - 1).abs() < 1e-6
    return replace_value(torch.where(near, codes_kd, unit_kd).detach(), unit_kd)
