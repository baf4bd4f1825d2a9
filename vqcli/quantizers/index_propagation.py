"""Index-propagation quantizer: the gradient reaches every code, through the softmax over all of them.

Paper: Shi et al., "IBQ", https://arxiv.org/abs/2412.02692, section 3.2.
Shape letters: B images, D code width, N = B*h*w positions, K codes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vqcli.nn.entropy import entropy_loss
from vqcli.nn.estimators import replace_value
from vqcli.nn.nearest import nearest_codes
from vqcli.quantizers.base import Quantizer, VqConfig, by_image, flatten, sides, unflatten, vq_losses
from vqcli.quantizers.compared import Compared
from vqcli.types import Quantized, Tokens


class IndexPropagationQuantizer(Quantizer):
    """Codes of largest dot product, trained through all of them; in training it holds (N, K) numbers."""

    class Config(VqConfig):
        """Options of the index-propagation quantizer."""

        name: Literal["index_propagation"] = "index_propagation"
        codebook_weight: float = Field(0.25, ge=0)
        """Weight of the term that pulls the chosen codes to latents."""
        commitment_weight: float = Field(1.0, ge=0)
        """Weight of the term that pulls latents to the chosen codes."""
        soft_weight: float = Field(1.0, ge=0)
        """Weight of the term between latents and the propagated codes, which trains both."""
        entropy_weight: float = Field(0.05, ge=0)
        """Weight of the entropy penalty."""
        entropy_temperature: float = Field(0.01, gt=0)
        """Temperature of the probabilities in that penalty."""

    TINY: ClassVar[dict[str, Any]] = {}
    NEEDS_GRADIENT = True
    config: Config

    def quantize(self, latents: Tensor) -> Quantized:
        config, codes_kd, z_nd, size = self.config, self.codes(), flatten(latents), sides(latents)
        logits_nk = z_nd @ codes_kd.T
        tokens_n = logits_nk.detach().argmax(1)
        hard_nd = F.embedding(tokens_n, codes_kd)
        # forward is the chosen code; its gradient goes to that code, and through the softmax to all of them
        soft_nd = replace_value(hard_nd, logits_nk.softmax(1) @ codes_kd.detach())
        hard, soft = unflatten(hard_nd, size), unflatten(soft_nd, size)
        losses = vq_losses(config, latents, hard) | {"soft": config.soft_weight * F.mse_loss(soft, latents)}
        if config.entropy_weight:
            entropy = entropy_loss(z_nd, codes_kd, "dot", config.entropy_temperature)
            losses["entropy"] = config.entropy_weight * entropy
        self.observe(z_nd, tokens_n)
        tokens = Tokens(by_image(tokens_n, latents), self.grid(*size))
        return Quantized(soft, tokens, losses)

    def assign(self, latents: Tensor) -> Tensor:
        tokens_n = nearest_codes(flatten(latents), self.codes(), "dot")
        return by_image(tokens_n, latents)

    def vectors(self, latents: Tensor, codes_kd: Tensor) -> Compared:
        return Compared(flatten(latents), "dot")
