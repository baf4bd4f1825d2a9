"""What quantizers compare with codes. Shape letters: N vectors compared, D code width."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vqcli.nn.nearest import Metric


@dataclass(frozen=True)
class Compared:
    """Vectors that a quantizer compares with its codes."""

    vectors_nd: Tensor
    """(N, D), step by step, in a step image by image."""
    metric: Metric = "l2"
    """Which code is chosen: the closest, or by ``dot`` that of the largest product."""
