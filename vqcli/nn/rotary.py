"""Rotary position embedding in two dimensions, as LlamaGen has it.

Paper: Sun et al., "LlamaGen", https://arxiv.org/abs/2406.06525; rotary: Su et al., https://arxiv.org/abs/2104.09864.
Shape letters: B batch, T positions, H heads, d head width, L tokens an image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vqcli.types import Grid


def rotary_table(grid: Grid, width: int, base: float, device: torch.device) -> Tensor:
    """Cosines and sines (1 + L, d/2, 2), float32: a row for the class, then one for every token of the grid.

    Half of the angles follow the row, the other half the column; entries coarser than the last are
    stretched over it. The class has zeros, not ones: its query and key vanish, as in the official code.
    """
    frequencies = base ** (-torch.arange(0, width // 2, 2, device=device)[: width // 4] / (width // 2))
    rows, columns = grid[-1]
    entries = []
    for h, w in grid:
        y = torch.arange(h, device=device) * (rows / h)
        x = torch.arange(w, device=device) * (columns / w)
        cells = torch.cartesian_prod(y, x)
        entries.append((cells[:, :, None] * frequencies).flatten(1))
    angles = torch.cat(entries)
    table = torch.stack([angles.cos(), angles.sin()], dim=-1)
    return torch.cat([torch.zeros_like(table[:1]), table])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn neighbouring pairs of ``x`` (B, T, ..., d) by the angles of ``table`` (T, d/2, 2), in float32."""
    table = table.view(len(table), *(1,) * (x.ndim - 3), *table.shape[1:])
    pairs = x.float().unflatten(-1, (-1, 2))
    if not torch.compiler.is_compiling():  # a compiler fuses real numbers alone
        pairs = pairs if pairs.stride(-1) == 1 else pairs.contiguous()
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(table))
        return turned.flatten(-2).to(x.dtype)
    (cos, sin), (a, b) = table.unbind(-1), pairs.unbind(-1)
    return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2).to(x.dtype)
