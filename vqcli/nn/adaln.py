"""A transformer block that a condition scales, shifts and gates (adaLN), and a head of the same kind.

Papers: Peebles & Xie, "DiT", https://arxiv.org/abs/2212.09748, section 3.2; Tian et al., "VAR",
https://arxiv.org/abs/2404.02905, section 3.2, and its official code, which this follows.
Shape letters: B batch, T new positions, S positions seen, H heads, d head width, C = H*d.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcli.nn.attention import KeyValueCache
from vqcli.nn.drop_path import DropPath

EPS = 1e-6
SHARPEST = math.log(100)
"""Of the learned logarithm of cosine attention's scale."""
PLAIN = 0.25
"""The scale of plain attention, over 1/sqrt(d): the official code's."""


class SetAttention(nn.Module):
    """Attention of new positions to all they may see: cosine, with a learned scale a head, or plain."""

    def __init__(self, width: int, heads: int, *, cosine: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = (nn.Parameter(torch.zeros(width)) for _ in range(2))
        self.scale = nn.Parameter(torch.full((1, heads, 1, 1), math.log(4))) if cosine else None
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, seen: Tensor | None, cache: KeyValueCache | None, layer: int, start: int
    ) -> Tensor:
        """Positions (B, T, C) from ``start`` on; ``seen`` (T, S) tells who sees whom: all see all if None."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if self.scale is None:
            scale = PLAIN / math.sqrt(q.shape[-1])
        else:
            q = F.normalize(q, dim=-1) * self.scale.clamp(max=SHARPEST).exp()
            k, scale = F.normalize(k, dim=-1), 1.0
        if cache is not None:
            k, v = cache.extend(layer, k, v, start)
        q, k = q.to(v.dtype), k.to(v.dtype)  # autocast normalizes in float32
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)
        return self.out(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """down(gelu(up x)), the tanh form of GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class AdaLnBlock(nn.Module):
    """x + gate * attention(scaled, shifted norm x), then the same with a feed-forward network.

    The condition gives two gates, two scales and two shifts, in this order. ``shared`` blocks add numbers of
    their own to those of one map for all blocks; others have a map each.
    """

    def __init__(self, width: int, heads: int, *, cosine: bool, shared: bool, path: float) -> None:
        super().__init__()
        self.width = width
        self.attention = SetAttention(width, heads, cosine=cosine)
        self.ffn = FeedForward(width, 4 * width)
        self.own = nn.Parameter(torch.zeros(1, 1, 6, width)) if shared else None
        self.condition = None if shared else nn.Linear(width, 6 * width)
        self.path = DropPath(path)

    @torch.no_grad()
    def begin(self, layers: int, gate: float) -> None:
        """VAR's start, from weights that are drawn already: quiet branches and quieter gates."""
        for branch in (self.attention.out, self.ffn.down):
            branch.weight /= (2 * layers) ** 0.5
        if self.condition is not None:
            gates, others = self.condition.weight.split([2 * self.width, 4 * self.width])
        else:
            assert self.own is not None
            gates, others = nn.init.normal_(self.own, std=self.width**-0.5).split([2, 4], dim=2)
        gates *= gate
        others *= 0.5

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        seen: Tensor | None = None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
        start: int = 0,
    ) -> Tensor:
        """Positions (B, T, C); ``condition`` is silu of it (B, C), or the shared map's (B, 1, 6, C)."""
        if self.own is not None:
            six = condition + self.own
        else:
            assert self.condition is not None
            six = self.condition(condition).unflatten(-1, (1, 6, -1))
        gate_1, gate_2, scale_1, scale_2, shift_1, shift_2 = six.unbind(2)
        y = self.attention(modulated(x, scale_1, shift_1), seen, cache, layer, start)
        x = x + self.path(y * gate_1)
        return x + self.path(self.ffn(modulated(x, scale_2, shift_2)) * gate_2)


class AdaLnHead(nn.Module):
    """A map of the norm of x, which the condition scales and shifts."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.condition = nn.Linear(width, 2 * width)
        self.map = nn.Linear(width, outputs)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Positions (B, T, C) -> (B, T, outputs); ``condition`` is silu of it, (B, C)."""
        scale, shift = self.condition(condition).unflatten(-1, (1, 2, -1)).unbind(2)
        return self.map(modulated(x, scale, shift))


def modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The layer norm of x (B, T, C), without weights of its own, times 1 + scale, plus shift, (B, 1, C)."""
    return F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift
