"""Bridged codebook: a learned table behind VQBridge, so that codes move together, chosen or not.

They do as long as some code of their slot is chosen: the codes at one place of all patches share rows of the
last layer, which get no gradient otherwise. ``revive_below`` keeps every slot alive.

Paper: Chang et al., "FVQ", https://arxiv.org/abs/2509.10140. Its patch size counts codes; here and in the
official code it is the side of a square of codes, so that the paper's 16 is 4.
Shape letters: K codes, D width.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli.codebooks.base import Codebook, Init, Restarted, TableConfig, initial_codes
from vqcli.config import DEEPEST, MOST, WIDEST
from vqcli.nn.bridge import ModulatedBridge, VqBridge
from vqcli.nn.code_grid import code_grid, slots_of
from vqcli.nn.precision import float32
from vqcli.nn.slots import SlotRevival


def _size(hidden: int, patch: int, depth: int = 2) -> dict[str, Any]:
    return {"hidden": hidden, "patch": patch, "depth": depth}


class BridgedConfig(TableConfig):
    """Options of a bridged codebook. Published: L/4 for 16,384 codes, L/8 for 65,536 and more; width 256."""

    name: Literal["bridged"] = "bridged"
    hidden: int = Field(256, ge=4, le=WIDEST, multiple_of=4)
    """Width of the transformer, which has four heads."""
    patch: int = Field(4, ge=1, le=DEEPEST)
    """Side of the square of codes that one transformer token holds."""
    depth: int = Field(2, ge=0, le=DEEPEST)
    """Transformer blocks."""
    blocks: Literal["plain", "modulated"] = "plain"
    """``plain`` as in the paper, or ``modulated`` (adaLN-zero, positions) as the official scripts train."""
    init: Init = "uniform"
    """First base codes, as in a learned codebook: ``uniform`` in FVQ, ``standard`` in VAR."""
    last_layer: Literal["zero", "small"] = "zero"
    """First weights of the bridge's last layer: ``zero``, as published, or ``small``, N(0, 1e-4/hidden), so
    that every code starts at a place of its own. Neither keeps slots alive: docs/vqbridge.md."""
    revive_below: float = Field(0.0, ge=0, lt=1)
    """A slot of the patch with less than this share of an even slot's hits takes the last layer's rows of a
    busy slot. 0, as published, for never: such a slot starves, with all its K / patch^2 codes."""
    revive_every: int = Field(20, ge=1, le=MOST)
    """Optimizer steps whose hits are counted each time."""
    revive_noise: float = Field(0.05, gt=0, le=1)
    """What sets the two apart: noise, over the deviation of the rows."""

    DIAL: ClassVar[str] = "bridge"
    SIZES: ClassVar[dict[str, dict[str, Any]]] = {
        "XS/2": _size(32, 2),
        "S/2": _size(64, 2),
        "S/4": _size(64, 4),
        "S/4-d4": _size(64, 4, 4),
        "S/8": _size(64, 8),
        "B/2": _size(128, 2),
        "B/4": _size(128, 4),
        "B/4-d1": _size(128, 4, 1),
        "B/4-d4": _size(128, 4, 4),
        "B/8": _size(128, 8),
        "L/2": _size(256, 2),
        "L/2-d4": _size(256, 2, 4),
        "L/4": _size(256, 4),
        "L/4-d1": _size(256, 4, 1),
        "L/4-d4": _size(256, 4, 4),
        "L/8": _size(256, 8),
        "XL/4": _size(512, 4),
        "XL/4-d4": _size(512, 4, 4),
        "XL/8": _size(512, 8),
    }

    @model_validator(mode="after")
    def size_fits(self) -> BridgedConfig:
        """The codes fill a grid of whole patches."""
        code_grid(self.size, self.patch)
        return self


class BridgedCodebook(Codebook):
    """A learned table behind VQBridge: codes = bridge(base), both trained; all codes start at zero."""

    Config = BridgedConfig
    TINY: ClassVar[dict[str, Any]] = {
        "size": 24, "width": 8, "hidden": 16, "patch": 2, "depth": 1, "revive_below": 0.1
    }  # fmt: skip
    HAS_DIRECTION = False
    COUNTERS = ("revival.",)

    def __init__(self, config: BridgedConfig) -> None:
        super().__init__(config, config.size, config.width)
        self.base = nn.Parameter(initial_codes(config.init, config.size, config.width))
        kind = ModulatedBridge if config.blocks == "modulated" else VqBridge
        self.bridge = kind(
            config.size, config.width, hidden=config.hidden, patch=config.patch, depth=config.depth
        )
        if config.last_layer == "small":
            nn.init.normal_(self.bridge.recover.weight, std=0.01 * config.hidden**-0.5)
        self.revival = (
            SlotRevival(
                config.patch**2,
                below=config.revive_below,
                every=config.revive_every,
                noise=config.revive_noise,
            )
            if config.revive_below
            else None
        )

    def codes(self) -> Tensor:
        with float32(self.base):
            return self.bridge(self.base.float())

    def slots(self, codes: Any) -> Any:
        """The slots, 0 to patch^2 - 1, of codes, whose rows of the last layer they share."""
        return slots_of(codes, self.bridge.columns, self.bridge.patch)

    def observe(self, vectors_md: Tensor, tokens_m: Tensor) -> None:
        if self.revival is not None and self.bridge.recover.weight.requires_grad:
            self.revival.observe(self.slots(tokens_m))

    def update(self) -> list[Restarted]:
        rows = self.revival.update(self.bridge.recover) if self.revival is not None else None
        return [] if rows is None else [(self.bridge.recover.weight, rows), (self.bridge.recover.bias, rows)]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Weights of a codebook that counts nothing fit one that revives slots, and the other way round."""
        if self.revival is None:
            for name in [name for name in state_dict if name.startswith(f"{prefix}revival.")]:
                del state_dict[name]
        super()._load_from_state_dict(state_dict, prefix, *others)

    def numbers(self, counts_k: NDArray[np.int64]) -> dict[str, float]:
        slots = self.bridge.patch**2
        hits_s = np.bincount(self.slots(np.arange(self.size)), counts_k, slots)
        told = {"slots": float(np.count_nonzero(hits_s)), "weakest_slot": slots * hits_s.min() / hits_s.sum()}
        return told | ({"revived_slots": float(self.revival.take())} if self.revival is not None else {})

    def deciding_tensors(self) -> dict[str, Tensor]:
        return self.learned()
