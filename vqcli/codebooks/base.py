"""The codebook contract: where the K codes come from.

Shape letters: M vectors compared, K codes, D width; B, h, w latents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from vqcli.config import MOST_CODES, WIDEST, PartConfig
from vqcli.nn.nearest import nearest_codes
from vqcli.registry import resolve

Init = Literal["uniform", "unit", "normal", "standard"]
Restarted = tuple[Tensor, Tensor]
"""A parameter, and which of its rows begin anew, bool: an optimizer is to forget what it knows of those."""


class TableConfig(PartConfig):
    """Sizes of a codebook that holds a table."""

    size: int = Field(ge=1, le=MOST_CODES)
    """Number of codes K."""
    width: int = Field(ge=1, le=WIDEST)
    """Width D of a code."""


class Codebook(nn.Module, ABC):
    """K codes of width D: ``size`` is K, ``width`` is D."""

    Config: ClassVar[type[PartConfig]]
    TINY: ClassVar[dict[str, Any]]
    DECIDES: ClassVar[tuple[str, ...]] = ("name",)
    """Options that decide tokens beside the tensors; a fingerprint has these alone."""
    IMPLICIT: ClassVar[bool] = False
    """Whether codes follow from a rule, so that no file holds them."""
    HAS_GRADIENT: ClassVar[bool] = True
    """Whether codes are trained by gradient."""
    HAS_DIRECTION: ClassVar[bool] = True
    """Whether no code is ever all zero: a zero code has no angle to compare."""
    COUNTERS: ClassVar[tuple[str, ...]] = ()
    """How names of tensors begin that count while it trains: no part of what it has learned."""
    frozen: bool = False
    """Whether averages stand still; weights stand still by ``requires_grad``."""

    def __init__(self, config: PartConfig, size: int, width: int) -> None:
        super().__init__()
        self.config, self.size, self.width = config, size, width

    @property
    def name(self) -> str:
        """What it is called in a recipe."""
        return getattr(self.config, "name", "")

    @abstractmethod
    def codes(self) -> Tensor:
        """Codes (K, D), float32 under any autocast, with gradient if they have one; maybe a network pass."""

    def prepare(self, latents: Tensor) -> Tensor:
        """Map latents (B, D, h, w) to where the codes are; the identity unless codes are bounded."""
        return latents

    def assign(self, vectors_md: Tensor, codes_kd: Tensor) -> Tensor:
        """Tokens (M,) of the closest codes; ``codes_kd`` is what ``codes`` returned, rows maybe scaled."""
        return nearest_codes(vectors_md, codes_kd)

    def scale(self, step: int) -> Tensor | float:
        """How long codes are at a step of a residual quantizer, over those of the first; () or (D,)."""
        return 1.0

    def observe(self, vectors_md: Tensor, tokens_m: Tensor) -> None:
        """In training: count what was compared and its tokens; for codebooks that learn by averages."""

    def update(self) -> list[Restarted]:
        """Learn from what was observed; the loop calls it once after each optimizer step."""
        return []

    def learned(self) -> dict[str, Tensor]:
        """The named tensors that another codebook of its kind and size can start from."""
        return {name: x for name, x in self.state_dict().items() if not name.startswith(self.COUNTERS)}

    def numbers(self, counts_k: NDArray[np.int64]) -> dict[str, float]:
        """What is worth logging beside how often each code was used, (K,), since the last line of the log."""
        return {}

    def adopt(self, codes_kd: Tensor) -> bool:
        """Take these codes (K, D) as a start; false where codes cannot be set, as behind a map."""
        return False

    def bake(self) -> Codebook:
        """A learned codebook with the same codes, computed once; one whose codes follow from a rule stays."""
        if self.IMPLICIT:
            return self
        with torch.no_grad():  # codes made in ``inference_mode`` could not train
            return resolve("codebooks", "learned").from_codes(self.codes())

    def deciding_tensors(self) -> dict[str, Tensor]:
        """The named tensors that decide tokens: part of the fingerprint."""
        return self.state_dict()

    def deciding_fields(self) -> dict[str, Any]:
        """Options that decide tokens beside the tensors: part of the fingerprint."""
        own = self.config.model_dump(mode="json", include=set(self.DECIDES))
        return own | {"size": self.size, "width": self.width}


def initial_codes(init: Init, size: int, width: int) -> Tensor:
    """``uniform``: U(-1/K, 1/K); ``unit``: so, of length 1; ``normal``: N(0, 1/D); ``standard``: N(0, 1)."""
    if init in ("normal", "standard"):
        return torch.randn(size, width) * (width**-0.5 if init == "normal" else 1)
    codes_kd = torch.empty(size, width).uniform_(-1 / size, 1 / size)
    return nn.functional.normalize(codes_kd, dim=1) if init == "unit" else codes_kd
