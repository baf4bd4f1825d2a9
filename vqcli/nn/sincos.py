"""Fixed positions in two dimensions: sines and cosines of row and column.

Paper: He et al., "MAE", https://arxiv.org/abs/2111.06377, appendix A.1; waves: Vaswani et al.,
https://arxiv.org/abs/1706.03762, section 3.5.
Shape letters: L tokens an image, C width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vqcli.types import Grid


def sincos_table(
    grid: Grid, width: int, base: float = 10_000.0, device: torch.device | None = None
) -> Tensor:
    """Positions (L, C), float32: of every token sine and cosine of its row, then of its column.

    ``base`` is the longest wavelength, over 2 pi. Entries coarser than the last are stretched over it, and
    stand where the middles of their cells are. Raises ValueError unless the width is a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"positions in two dimensions need a width that is a multiple of 4, not {width}")
    frequencies = base ** (-torch.arange(width // 4, device=device, dtype=torch.float64) / (width // 4))
    rows, columns = grid[-1]
    entries = []
    for h, w in grid:
        y, x = (_middles(n, across, device) for n, across in ((h, rows), (w, columns)))
        angles = torch.cartesian_prod(y, x)[:, :, None] * frequencies
        entries.append(torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1))
    return torch.cat(entries).float()


def _middles(cells: int, across: int, device: torch.device | None) -> Tensor:
    """Where so many cells stand that share ``across`` positions: 0, 1, ... where each has one."""
    return (torch.arange(cells, device=device, dtype=torch.float64) + 0.5) * (across / cells) - 0.5
