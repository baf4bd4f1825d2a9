"""Nearest-code quantizer: every latent becomes its closest code.

Paper: Esser et al., "Taming Transformers", https://arxiv.org/abs/2012.09841, section 3.1.
Shape letters: B images, D code width, N = B*h*w positions, K codes.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from vqcli.codebooks.base import Codebook
from vqcli.errors import VqcliError
from vqcli.quantizers.base import Quantizer, QuantizerConfig, flatten, sides, straight_through, unflatten
from vqcli.types import Quantized, Tokens


class NearestQuantizer(Quantizer):
    """Every latent becomes its closest code: one token a position."""

    class Config(QuantizerConfig):
        """Options of the nearest-code quantizer."""

        name: Literal["nearest"] = "nearest"
        metric: Literal["l2", "cosine"] = "l2"
        """Cosine scales latents and codes to length 1 first (LlamaGen VQ), and returns length 1 too."""

    TINY: ClassVar[dict[str, Any]] = {}
    DECIDES: ClassVar[tuple[str, ...]] = ("name", "metric")
    config: Config

    def __init__(self, config: Config, codebook: Codebook) -> None:
        if config.metric == "cosine" and codebook.STARTS_AT_ZERO:
            raise VqcliError(
                "metric cosine cannot start from codes that are all zero, as a bridge's are",
                hint="use metric l2, or another codebook",
                reason="config",
            )
        super().__init__(config, codebook)

    def codes(self) -> Tensor:
        return self.normalize(super().codes())

    def normalize(self, x: Tensor) -> Tensor:
        """Length 1 along dimension 1 where the metric is cosine."""
        return F.normalize(x, dim=1) if self.config.metric == "cosine" else x

    def quantize(self, latents: Tensor) -> Quantized:
        latents, codes_kd = self.normalize(latents), self.codes()
        z_nd, size = flatten(latents), sides(latents)
        tokens_n = self.codebook.assign(z_nd, codes_kd)
        chosen = unflatten(F.embedding(tokens_n, codes_kd), size)
        self.observe(z_nd, tokens_n)
        tokens = Tokens(tokens_n.view(len(latents), math.prod(size)), self.grid(*size))
        return Quantized(straight_through(latents, chosen), tokens, self.vq_losses(latents, chosen))

    def assign(self, latents: Tensor) -> Tensor:
        tokens_n = self.codebook.assign(flatten(self.normalize(latents)), self.codes())
        return tokens_n.view(len(latents), math.prod(sides(latents)))

    def restore(self, tokens: Tokens) -> Tensor:
        return unflatten(F.embedding(tokens.ids.flatten(), self.codes()), tokens.grid[-1])
