"""The vision transformer's block: layer norm, attention of all to all, a feed-forward network.

Paper: Dosovitskiy et al., "ViT", https://arxiv.org/abs/2010.11929, section 3.1.
Shape letters: B batch, T positions, H heads, d head width, C = H*d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from vqcli.nn.drop_path import DropPath

EPS = 1e-6
"""Of layer norms, as in the official code."""


@dataclass(frozen=True)
class VitDropouts:
    """Shares of what a block leaves out in training."""

    attention: float = 0.0
    """Of attention's weights."""
    branch: float = 0.0
    """Of the numbers that each branch ends with, and of the hidden ones of the feed-forward network."""
    path: float = 0.0
    """Of samples for which a branch is left out."""


class Attention(nn.Module):
    """Multi-head attention of every position (B, T, C) to every other."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return self.out(y.transpose(1, 2).flatten(2))


class VitBlock(nn.Module):
    """x + attention(norm x), then x + ffn(norm x), with GELU."""

    def __init__(self, width: int, heads: int, hidden: int, dropouts: VitDropouts) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = (nn.LayerNorm(width, eps=EPS) for _ in range(2))
        self.attention = Attention(width, heads, dropouts.attention)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout, self.path = nn.Dropout(dropouts.branch), DropPath(dropouts.path)

    def forward(self, x: Tensor) -> Tensor:
        """Positions (B, T, C) -> the same."""
        x = x + self.path(self.dropout(self.attention(self.attention_norm(x))))
        hidden = self.dropout(F.gelu(self.up(self.ffn_norm(x))))
        return x + self.path(self.dropout(self.down(hidden)))
