"""Convolutional blocks of the improved (MAGVIT-v2 style) network, as Open-MAGVIT2 and SimVQ have it.

Papers: Yu et al., "MAGVIT-v2", https://arxiv.org/abs/2310.05737; Luo et al., "Open-MAGVIT2",
https://arxiv.org/abs/2409.04410. Its res blocks are those of ``conv`` without biases; there is no attention.
Shape letters: B images, C channels, H, W sides, D channels and h, w sides of what enters the decoder.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

from vqcli.nn.conv import GROUPS, Level, ResBlock

EPS = 1e-6


def middle(channels: int, blocks: int) -> nn.Sequential:
    """What stands at the lowest resolution: res blocks."""
    return nn.Sequential(*(ResBlock(channels, channels, bias=False) for _ in range(blocks)))


def downsample(channels: int) -> nn.Conv2d:
    """Halve the sides. Pads all four sides by one, as its published weights need; ``conv`` pads two."""
    return nn.Conv2d(channels, channels, 3, stride=2, padding=1)


def depth_to_space(x: Tensor) -> Tensor:
    """(B, 4C, H, W) -> (B, C, 2H, 2W), the place inside a pixel before the channel (DCR order).

    ``pixel_shuffle`` has the channel first: weights trained for one order give noise in the other.
    """
    return rearrange(x, "b (r s c) h w -> b c (h r) (w s)", r=2, s=2)


class Upsample(nn.Conv2d):
    """Double the sides: a convolution makes four pixels of each."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 4 * channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return depth_to_space(super().forward(x))


def statistics(z: Tensor) -> tuple[Tensor, Tensor]:
    """Spread and mean, both (B, D), over the positions of (B, D, h, w); a single position has variance 0."""
    z = z.flatten(2)
    variance_bd = z.var(2, correction=min(1, z.shape[2] - 1))
    return (variance_bd + EPS).sqrt(), z.mean(2)


class AdaptiveNorm(nn.Module):
    """Group norm of (B, C, H, W) whose scale and shift come from the statistics of the decoder's input."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=EPS, affine=False)
        self.gamma, self.beta = nn.Linear(width, channels), nn.Linear(width, channels)

    def forward(self, x: Tensor, spread_bd: Tensor, mean_bd: Tensor) -> Tensor:
        scale_bc, shift_bc = self.gamma(spread_bd), self.beta(mean_bd)
        return self.norm(x) * scale_bc[..., None, None] + shift_bc[..., None, None]


class AdaptiveLevel(Level):
    """A level without biases behind an adaptive norm; ``width`` is that of the decoder's input."""

    def __init__(self, widths: list[int], resize: nn.Module, *, width: int) -> None:
        super().__init__(widths, resize, attention=False, bias=False)
        self.adapt = AdaptiveNorm(width, widths[0])

    def forward(self, x: Tensor, spread_bd: Tensor, mean_bd: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(self.adapt(x, spread_bd, mean_bd))
