"""Bridged codebook: a learned table behind VQBridge, so that every code receives gradient in every step.

Paper: Chang et al., "FVQ", https://arxiv.org/abs/2509.10140. Its patch size counts codes; here and in the
official code it is the side of a square of codes, so that the paper's 16 is 4.
Shape letters: K codes, D width.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli.codebooks.base import Codebook, Init, TableConfig, initial_codes
from vqcli.config import DEEPEST, WIDEST
from vqcli.nn.bridge import ModulatedBridge, VqBridge, code_grid
from vqcli.nn.precision import float32


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
    """First weights of the bridge's last layer. ``zero``, as published, can leave part of each patch at zero
    for good, most of all where patches are large; ``small``, N(0, 1e-4/hidden), did not: docs/vqbridge.md."""

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
    TINY: ClassVar[dict[str, Any]] = {"size": 24, "width": 8, "hidden": 16, "patch": 2, "depth": 1}
    HAS_DIRECTION = False

    def __init__(self, config: BridgedConfig) -> None:
        super().__init__(config, config.size, config.width)
        self.base = nn.Parameter(initial_codes(config.init, config.size, config.width))
        kind = ModulatedBridge if config.blocks == "modulated" else VqBridge
        self.bridge = kind(
            config.size, config.width, hidden=config.hidden, patch=config.patch, depth=config.depth
        )
        if config.last_layer == "small":
            nn.init.normal_(self.bridge.recover.weight, std=0.01 * config.hidden**-0.5)

    def codes(self) -> Tensor:
        with float32(self.base):
            return self.bridge(self.base.float())
