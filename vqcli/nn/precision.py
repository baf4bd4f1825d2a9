"""Number formats."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def float32(like: Tensor) -> AbstractContextManager[object]:
    """No autocast for what runs inside, on the device of ``like``, whatever stands around it."""
    device = like.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
