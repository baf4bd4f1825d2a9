"""Llama's transformer block: RMS norm, rotary attention, SwiGLU, no bias anywhere.

Paper: Touvron et al., "LLaMA", https://arxiv.org/abs/2302.13971, section 2.2.
Shape letters: B batch, T positions, C width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcli.nn.attention import CausalAttention, KeyValueCache
from vqcli.nn.drop_path import DropPath
from vqcli.nn.linear import Linear

EPS = 1e-5


class RmsNorm(nn.Module):
    """Scale to unit mean square in float32, back to the input's format, then by ``weight``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:
            return F.rms_norm(x, self.weight.shape, self.weight.float(), EPS)  # one kernel of a GPU
        return F.rms_norm(x.float(), self.weight.shape, eps=EPS).to(x.dtype) * self.weight


class SwiGlu(nn.Module):
    """down(silu(gate x) * up x)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = Linear(width, hidden, bias=False)
        self.up = Linear(width, hidden, bias=False)
        self.down = Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


@dataclass(frozen=True)
class Dropouts:
    """Shares of what a block leaves out in training."""

    attention: float = 0.0
    residual: float = 0.0
    """Of the output of attention."""
    ffn: float = 0.0
    """Of the output of the feed-forward network."""
    path: float = 0.0
    """Of samples for which a branch is left out."""


class LlamaBlock(nn.Module):
    """x + attention(norm x), then x + ffn(norm x)."""

    def __init__(self, width: int, heads: int, hidden: int, dropouts: Dropouts) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = RmsNorm(width), RmsNorm(width)
        self.attention = CausalAttention(width, heads, dropout=dropouts.attention)
        self.ffn = SwiGlu(width, hidden)
        self.residual_dropout, self.ffn_dropout = nn.Dropout(dropouts.residual), nn.Dropout(dropouts.ffn)
        self.path = DropPath(dropouts.path)

    def forward(
        self, x: Tensor, table: Tensor, cache: KeyValueCache | None, layer: int, start: int
    ) -> Tensor:
        """Positions (B, T, C) from ``start`` on; ``table`` are their rotary angles."""
        y = self.attention(self.attention_norm(x), table, cache, layer, start)
        x = x + self.path(self.residual_dropout(y))
        return x + self.path(self.ffn_dropout(self.ffn(self.ffn_norm(x))))
