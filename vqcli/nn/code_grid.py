"""The grid on which VQBridge lays out K codes, and the slots of its patches. No torch.

Shape letters: K codes, P side of a patch.
"""

from __future__ import annotations

import math
from typing import Any


def code_grid(size: int, patch: int) -> tuple[int, int]:
    """The most square (rows, columns) of K codes: rows <= columns, both multiples of the patch.

    Raises ValueError that names the nearest K that works.
    """
    if size < 1 or size % patch**2:
        nearest = max(1, round(size / patch**2)) * patch**2
        raise ValueError(
            f"VQBridge with patch {patch} needs a size that is a multiple of {patch**2}; {nearest} works"
        )
    patches = size // patch**2
    rows = next(r for r in range(math.isqrt(patches), 0, -1) if patches % r == 0)
    return rows * patch, patches // rows * patch


def slots_of(codes: Any, columns: int, patch: int) -> Any:
    """The slots, 0 to P^2 - 1, of codes (an array or a tensor of integers) of a grid with so many columns."""
    return codes // columns % patch * patch + codes % patch
