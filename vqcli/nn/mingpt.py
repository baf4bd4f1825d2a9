"""minGPT's transformer block: layer norm, attention and a GELU network, with biases.

Paper: Radford et al., GPT-2, "Language Models are Unsupervised Multitask Learners", section 2.3.
Shape letters: B batch, T positions, C width.
"""

from __future__ import annotations

from torch import Tensor, nn

from vqcli.nn.attention import CausalAttention, KeyValueCache


class MinGptBlock(nn.Module):
    """x + attention(norm x), then x + mlp(norm x)."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads, bias=True, dropout=dropout)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: KeyValueCache | None, layer: int, start: int) -> Tensor:
        """Positions (B, T, C) from ``start`` on."""
        x = x + self.dropout(self.attention(self.attention_norm(x), None, cache, layer, start))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))
