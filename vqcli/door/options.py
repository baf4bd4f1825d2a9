"""How a model was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

Precision = Literal["fp32", "bf16", "fp16"]
"""Number format of the networks; weights stay float32 but a generator's."""


@dataclass(frozen=True)
class LoadOptions:
    """What ``vqcli.load`` was told."""

    reference: str
    device: torch.device
    precision: Precision = "fp32"
    tokenizer: str | None = None
    """MODEL that goes with a generator or classifier, instead of the one that came with it."""


def check_whole(least: int, **numbers: int) -> None:
    """Raises ValueError where something is no whole number, or below ``least``."""
    for name, number in numbers.items():
        if not isinstance(number, int | np.integer) or number < least:
            raise ValueError(f"{name} is at least {least}, and whole, not {number!r}")
