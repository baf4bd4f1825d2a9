"""Networks that were built on the meta device, which takes no memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def allocate(network: Module, device: torch.device | str = "cpu") -> Module:
    """The same network with room for all of its tensors, to be filled.

    ``Module.to_empty`` does it too, and imports sympy for it: 0.4 s.
    """
    return network._apply(lambda x: torch.empty(x.shape, dtype=x.dtype, device=device))


def built(build: Callable[[], Module], device: torch.device, *, empty: bool) -> Module:
    """The network that ``build`` returns, on a device; an empty one has room for its tensors alone."""
    with torch.device("meta") if empty else nullcontext():
        network = build()
    return allocate(network, device) if empty else network.to(device)
