"""Convolutional blocks of the VQGAN family.

Paper: Esser et al., "Taming Transformers", https://arxiv.org/abs/2012.09841, appendix A.
Shape letters: B images, C channels, H, W sides.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

GROUPS = 32
"""Groups of every normalization of the family; channel counts are multiples of it."""


def group_norm(channels: int) -> nn.GroupNorm:
    """The one normalization of the family: 32 groups, eps 1e-6."""
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class ResBlock(nn.Module):
    """Norm, swish, convolution, twice, around a skip; (B, C_in, H, W) -> (B, C_out, H, W)."""

    def __init__(self, c_in: int, c_out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(c_in), nn.Conv2d(c_in, c_out, 3, padding=1, bias=bias)
        self.norm2, self.conv2 = group_norm(c_out), nn.Conv2d(c_out, c_out, 3, padding=1, bias=bias)
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class AttentionBlock(nn.Module):
    """Single-head self-attention over all H*W positions, with a residual; (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(self.norm(x)), "b (three c) h w -> three b 1 (h w) c", three=3)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(rearrange(mixed, "b 1 (h w) c -> b c h w", h=x.shape[2]))


class Downsample(nn.Conv2d):
    """Halve the sides. Pads right and bottom only, as the published weights need it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Conv2d):
    """Double the sides: nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Res blocks through ``widths``, each followed by attention where asked, then a change of resolution."""

    def __init__(self, widths: list[int], resize: nn.Module, *, attention: bool, bias: bool = True) -> None:
        super().__init__()
        self.res = nn.ModuleList(ResBlock(a, b, bias=bias) for a, b in pairwise(widths))
        self.attn = nn.ModuleList(AttentionBlock(c) if attention else nn.Identity() for c in widths[1:])
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        for res, attn in zip(self.res, self.attn):
            x = attn(res(x))
        return self.resize(x)


def middle(channels: int) -> nn.Sequential:
    """What stands at the lowest resolution: a res block, attention, a res block."""
    return nn.Sequential(ResBlock(channels, channels), AttentionBlock(channels), ResBlock(channels, channels))
