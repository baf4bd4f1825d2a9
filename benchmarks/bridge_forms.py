"""A plugin: forms of VQBridge that were tried against starving slots, beside the one that is part of vqcli.

docs/vqbridge.md tells what came of them.
Shape letters: K codes, D width, T patches, S = P^2 slots, h hidden.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from vqcli.codebooks.bridged import BridgedCodebook, BridgedConfig
from vqcli.nn.bridge import VqBridge

TINY: dict[str, Any] = {"size": 24, "width": 8, "hidden": 16, "patch": 2, "depth": 1}


class PermutedBridge(BridgedCodebook):
    """VQBridge whose base codes change places every so many steps: none stays in a slot that sleeps."""

    class Config(BridgedConfig):
        """Options of a permuted bridge."""

        name: Literal["permuted-bridge"] = "permuted-bridge"  # type: ignore[assignment]
        every: int = Field(20, ge=1)
        """Steps between permutations, which end when 200 are done."""

    TINY: ClassVar[dict[str, Any]] = TINY
    config: Config
    steps: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def update(self) -> list[Any]:
        self.steps += 1
        step = int(self.steps)
        if step % self.config.every == 0 and step <= 200:
            order = torch.randperm(self.size, generator=torch.Generator().manual_seed(step))
            with torch.no_grad():
                self.base.copy_(self.base[order])
        return []


class SharedBridge(BridgedCodebook):
    """One last layer for all slots, told apart by a vector before it: no rows are a slot's own."""

    class Config(BridgedConfig):
        """Options of a shared bridge."""

        name: Literal["shared-bridge"] = "shared-bridge"  # type: ignore[assignment]

    TINY: ClassVar[dict[str, Any]] = TINY

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.revival = None  # no rows are a slot's own
        self.bridge = _OneLastLayer(
            config.size, config.width, hidden=config.hidden, patch=config.patch, depth=config.depth
        )


class _OneLastLayer(VqBridge):
    """code = W gelu(patch + slot): as many operations as a layer of a slot's own, a Sth of the weights."""

    def __init__(self, size: int, width: int, *, hidden: int, patch: int, depth: int) -> None:
        super().__init__(size, width, hidden=hidden, patch=patch, depth=depth)
        self.slots_sh = nn.Parameter(torch.randn(patch**2, hidden))
        self.recover = nn.Linear(hidden, width)
        nn.init.zeros_(self.recover.weight)
        nn.init.zeros_(self.recover.bias)

    def forward(self, base_kd: Tensor) -> Tensor:
        sides = {"a": self.rows // self.patch, "p": self.patch, "q": self.patch}
        patches = rearrange(base_kd, "(a p b q) d -> (a b) (p q d)", **sides)
        weight = rearrange(self.compress.weight, "h d p q -> h (p q d)")
        x_th = self.process(F.linear(patches, weight, self.compress.bias))
        codes = self.recover(F.gelu(x_th[:, None] + self.slots_sh))
        return rearrange(codes, "(a b) (p q) d -> (a p b q) d", **sides)
