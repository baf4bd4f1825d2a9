"""Causal self-attention, over a whole sequence or token by token with a static cache.

Shape letters: B batch, T new positions, S slots of the cache, H heads, d head width, C = H*d.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vqcli.nn.linear import Linear
from vqcli.nn.rotary import rotate


class KeyValueCache:
    """Keys and values of what a network has seen, in slots that are allocated once.

    Attention reads the filled slots alone: no mask is needed, and early tokens cost less.
    """

    def __init__(self, layers: int, shape: tuple[int, int, int, int], like: Tensor) -> None:
        """Room for ``shape`` (B, H, S, d) in every layer, on the device and in the format of ``like``."""
        self.layers = [(like.new_empty(shape), like.new_empty(shape)) for _ in range(layers)]

    def extend(self, layer: int, keys: Tensor, values: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Put keys and values (B, H, T, d) at ``start``; all up to there, (B, H, start + T, d) each."""
        end = start + keys.shape[2]
        both = self.layers[layer]
        for stored, new in zip(both, (keys, values)):
            stored[:, :, start:end] = new
        return both[0][:, :, :end], both[1][:, :, :end]

    def keep(self, rows: int) -> None:
        """Forget all but the first rows of the batch."""
        self.layers = [(keys[:rows], values[:rows]) for keys, values in self.layers]


class CausalAttention(nn.Module):
    """Multi-head attention of every position (B, T, C) to itself and those before it."""

    def __init__(self, width: int, heads: int, *, bias: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = Linear(width, 3 * width, bias=bias)
        self.out = Linear(width, width, bias=bias)

    def forward(
        self, x: Tensor, table: Tensor | None, cache: KeyValueCache | None, layer: int, start: int
    ) -> Tensor:
        """Attend; ``table`` (T, d/2, 2) turns queries and keys, ``cache`` holds what was before ``start``."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        if table is not None:
            q, k = rotate(qkv[:, :, :2], table).unbind(2)
        else:
            q, k = qkv[:, :, 0], qkv[:, :, 1]
        q, k, v = (part.transpose(1, 2) for part in (q, k, qkv[:, :, 2]))
        if cache is not None:
            assert start == 0 or q.shape[2] == 1, "the causal mask is that of a sequence from its start"
            k, v = cache.extend(layer, k, v, start)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=q.shape[2] > 1)
        return self.out(y.transpose(1, 2).flatten(2))
