"""Number formats."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """What runs the networks in ``precision`` (fp32, bf16, fp16)."""
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    known = precision in kinds and torch.amp.is_autocast_available(device.type)  # not on the meta device
    return torch.autocast(device.type, kinds[precision]) if known else nullcontext()


def float32(like: Tensor) -> AbstractContextManager[object]:
    """No autocast for what runs inside, on the device of ``like``, whatever stands around it."""
    device = like.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
