"""VQBridge: compress the grid of codes to patches, process them with a transformer, recover codes.

Paper: Chang et al., "FVQ", https://arxiv.org/abs/2509.10140. The official code has 2-D patches and no norm
after compression, the paper 1-D groups with one; the code decides. It has two forms of blocks: plain, as
the paper describes, and modulated (adaLN-zero) with a fixed position embedding, which its scripts train.
Shape letters: K codes, D width, r, q sides of the grid (r*q = K), P patch, T = K/P^2 patches, h hidden.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vqcli.nn.code_grid import code_grid

HEADS = 4


def sincos_2d(rows: int, columns: int, width: int) -> Tensor:
    """MAE's positions (rows*columns, width): first half the column, second the row; each sin, then cos."""
    freqs = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(max(rows, columns), dtype=torch.float64)[:, None] * freqs
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.cat(
        [axis[:columns].repeat(rows, 1), axis[:rows].repeat_interleave(columns, 0)], dim=1
    ).float()


@cache
def positions_on(device: torch.device, rows: int, columns: int, width: int) -> Tensor:
    """``sincos_2d`` on a device, made once: copying it there in every step would hold up a GPU."""
    with torch.inference_mode(False), torch.device("cpu"):  # the same bits everywhere; part of later graphs
        return sincos_2d(rows, columns, width).to(device)


def layer_norm(x: Tensor) -> Tensor:
    """Layer norm without parameters, eps 1e-6."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def zero_linear(n_in: int, n_out: int) -> nn.Linear:
    """A linear map that starts at zero."""
    linear = nn.Linear(n_in, n_out)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def xavier_linear(n_in: int, n_out: int) -> nn.Linear:
    """A linear map that starts Xavier uniform, without bias."""
    linear = nn.Linear(n_in, n_out)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class BridgeBlock(nn.Module):
    """Pre-norm transformer block over patches (T, h)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.qkv, self.out = xavier_linear(hidden, 3 * hidden), xavier_linear(hidden, hidden)
        self.fc1, self.fc2 = xavier_linear(hidden, 2 * hidden), xavier_linear(2 * hidden, hidden)

    def attend(self, x_th: Tensor) -> Tensor:
        """Self-attention of all patches."""
        q, k, v = rearrange(self.qkv(x_th), "t (three heads d) -> three 1 heads t d", three=3, heads=HEADS)
        return self.out(rearrange(F.scaled_dot_product_attention(q, k, v), "1 heads t d -> t (heads d)"))

    def feed(self, x_th: Tensor) -> Tensor:
        """Feed-forward layer of each patch."""
        return self.fc2(F.gelu(self.fc1(x_th), approximate="tanh"))

    def forward(self, x_th: Tensor) -> Tensor:
        x_th = x_th + self.attend(layer_norm(x_th))
        return x_th + self.feed(layer_norm(x_th))


class ModulatedBlock(BridgeBlock):
    """A block whose norms and gates come from the bridge's condition; the identity at the start."""

    def __init__(self, hidden: int) -> None:
        super().__init__(hidden)
        self.modulation = zero_linear(hidden, 6 * hidden)

    def forward(self, x_th: Tensor, condition_h: Tensor) -> Tensor:  # type: ignore[override]
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(condition_h)).chunk(6)
        x_th = x_th + gate1 * self.attend(layer_norm(x_th) * (1 + scale1) + shift1)
        return x_th + gate2 * self.feed(layer_norm(x_th) * (1 + scale2) + shift2)


class VqBridge(nn.Module):
    """Map base codes (K, D) to codes (K, D); there is no path around it, so every code starts at zero.

    Raises ValueError if K is no multiple of the squared patch.
    """

    block: type[BridgeBlock] = BridgeBlock

    def __init__(self, size: int, width: int, *, hidden: int, patch: int, depth: int) -> None:
        super().__init__()
        self.patch, (self.rows, self.columns) = patch, code_grid(size, patch)
        self.compress = nn.Conv2d(width, hidden, patch, stride=patch)
        nn.init.xavier_uniform_(self.compress.weight.detach().view(hidden, -1))
        nn.init.constant_(self.compress.bias, 0.0)  # type: ignore[arg-type]
        self.blocks = nn.ModuleList(self.block(hidden) for _ in range(depth))
        self.recover = zero_linear(hidden, patch * patch * width)

    def process(self, x_th: Tensor) -> Tensor:
        """Patches (T, h) through the blocks and the last norm."""
        for block in self.blocks:
            x_th = block(x_th)
        return layer_norm(x_th)

    def forward(self, base_kd: Tensor) -> Tensor:
        sides = {"a": self.rows // self.patch, "p": self.patch, "q": self.patch}
        patches = rearrange(base_kd, "(a p b q) d -> (a b) (p q d)", **sides)
        weight = rearrange(self.compress.weight, "h d p q -> h (p q d)")
        x_th = F.linear(patches, weight, self.compress.bias)  # its convolution took 10 times as long on a CPU
        return rearrange(self.recover(self.process(x_th)), "(a b) (p q d) -> (a p b q) d", **sides)


class ModulatedBridge(VqBridge):
    """VQBridge with modulated blocks and positions; its condition is one trained vector (unconditional)."""

    block = ModulatedBlock

    def __init__(self, size: int, width: int, *, hidden: int, patch: int, depth: int) -> None:
        super().__init__(size, width, hidden=hidden, patch=patch, depth=depth)
        self.condition = nn.Parameter(torch.randn(hidden) * 0.02)
        self.modulation = zero_linear(hidden, 2 * hidden)

    def process(self, x_th: Tensor) -> Tensor:
        rows, columns = self.rows // self.patch, self.columns // self.patch
        x_th = x_th + positions_on(x_th.device, rows, columns, x_th.shape[1])
        for block in self.blocks:
            x_th = block(x_th, self.condition)
        shift, scale = self.modulation(F.silu(self.condition)).chunk(2)
        return layer_norm(x_th) * (1 + scale) + shift
