"""How a model was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class LoadOptions:
    """What ``vqcli.load`` was told."""

    reference: str
    device: torch.device
    precision: str = "fp32"
    """fp32, bf16 or fp16."""
    tokenizer: str | None = None
    """MODEL that goes with a generator, instead of the one that came with it."""


def check_positive(**numbers: int) -> None:
    """Raises ValueError where a number is below 1."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is at least 1, not {number}")
