"""How gradients pass a quantizer: the value of the chosen code, the gradient of something else.

Shape letters: N vectors, D width, along dimension 1 of (N, D) or (B, D, h, w).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def replace_value(chosen: Tensor, carrier: Tensor) -> Tensor:
    """The value of ``chosen``, to the last bit, with the gradient of both."""
    return chosen + (carrier - carrier.detach())


def straight_through(latents: Tensor, chosen: Tensor) -> Tensor:
    """Latents receive the gradient of their code as it is (Bengio et al., https://arxiv.org/abs/1308.3432)."""
    return replace_value(chosen.detach(), latents)


def rotation_trick(latents: Tensor, chosen: Tensor) -> Tensor:
    """Latents receive the gradient turned and scaled as their code is to them.

    Fifty et al., https://arxiv.org/abs/2410.06424, section 4: with u and q of length 1 along z and its code,
    and w halfway, z -> (z - 2 (z.w) w + 2 (z.u) q) |code| / |z|. A code of zero passes nothing.
    """
    with torch.no_grad():
        u, q = F.normalize(latents, dim=1), F.normalize(chosen, dim=1)
        w = F.normalize(u + q, dim=1)
        ratio = chosen.norm(dim=1, keepdim=True) / latents.norm(dim=1, keepdim=True).clamp(min=1e-12)
    along_w, along_u = ((latents * x).sum(1, keepdim=True) for x in (w, u))
    return replace_value(chosen.detach(), (latents - 2 * along_w * w + 2 * along_u * q) * ratio)
