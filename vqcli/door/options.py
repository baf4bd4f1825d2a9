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
