"""Gumbel quantizer: a projection scores all codes, training draws one, encoding takes the best.

Papers: Jang et al., https://arxiv.org/abs/1611.01144; Esser et al., "Taming Transformers" (the f8 model),
https://arxiv.org/abs/2012.09841. The official code draws when it encodes too; here encoding takes the best.
Shape letters: B images, D code width, N = B*h*w positions, K codes.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vqcli.codebooks.base import Codebook
from vqcli.config import PartConfig
from vqcli.nn.estimators import replace_value
from vqcli.nn.nearest import nearest_codes
from vqcli.quantizers.base import Quantizer, by_image, flatten, sides, unflatten
from vqcli.types import Quantized, Tokens


class GumbelQuantizer(Quantizer):
    """A projection picks the code, the table looks it up; in training it holds (N, K) numbers."""

    class Config(PartConfig):
        """Options of the Gumbel quantizer."""

        name: Literal["gumbel"] = "gumbel"
        temperature: float = Field(1.0, gt=0)
        """Of the softmax that passes gradients: low ones are sharp and noisy."""
        kl_weight: float = Field(5e-4, ge=0)
        """Weight of the divergence between the scores' probabilities and uniform ones."""

    TINY: ClassVar[dict[str, Any]] = {}
    NEEDS_GRADIENT = True
    DRAWS = True
    config: Config

    def __init__(self, config: Config, codebook: Codebook) -> None:
        super().__init__(config, codebook)
        self.proj = nn.Linear(codebook.width, codebook.size)

    def quantize(self, latents: Tensor) -> Quantized:
        codes_kd, size = self.codes(), sides(latents)
        logits_nk = self.proj(flatten(latents))
        noisy_nk = logits_nk
        if self.training:
            noisy_nk = logits_nk - torch.empty_like(logits_nk).exponential_().log()
        tokens_n = noisy_nk.detach().argmax(1)
        soft_nd = (noisy_nk / self.config.temperature).softmax(1) @ codes_kd.detach()
        chosen = unflatten(replace_value(F.embedding(tokens_n, codes_kd), soft_nd), size)
        self.observe(flatten(latents), tokens_n)
        logs_nk = logits_nk.log_softmax(1)
        divergence = (logs_nk.exp() * (logs_nk + math.log(self.size))).sum(1).mean()
        tokens = Tokens(by_image(tokens_n, latents), self.grid(*size))
        return Quantized(chosen, tokens, {"kl": self.config.kl_weight * divergence})

    def assign(self, latents: Tensor) -> Tensor:
        z_nd = flatten(latents)
        ones_n1 = z_nd.new_ones(len(z_nd), 1)
        scores_kd = torch.cat([self.proj.weight, self.proj.bias[:, None]], dim=1)
        tokens_n = nearest_codes(torch.cat([z_nd, ones_n1], dim=1), scores_kd, "dot")
        return by_image(tokens_n, latents)

    def vectors(self, latents: Tensor, codes_kd: Tensor) -> str:
        return "a projection scores the codes, no latent is compared with one"

    def prune(self, kept_k: Tensor) -> None:
        super().prune(kept_k)
        weight_kd, bias_k = self.proj.weight.detach()[kept_k], self.proj.bias.detach()[kept_k]
        self.proj = nn.utils.skip_init(nn.Linear, self.width, len(kept_k))
        self.proj.weight, self.proj.bias = nn.Parameter(weight_kd), nn.Parameter(bias_k)
