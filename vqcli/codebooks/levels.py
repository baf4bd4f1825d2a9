"""Levels codebook: a grid with a few values a channel; nothing is learned and nothing is searched.

Paper: Mentzer et al., "FSQ", https://arxiv.org/abs/2309.15505; bounds and rounding as in lucidrains' code,
with its tokens. FSQ is this with a commitment weight of 0.
Shape letters: M vectors compared, K codes, D channels; B, h, w latents.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vqcli.codebooks.base import Codebook
from vqcli.config import MOST_CODES, PartConfig

MAX_CODES = 1 << 24


class LevelsCodebook(Codebook):
    """A grid of codes in [-1, 1]; latents are squashed into it first."""

    class Config(PartConfig):
        """Options of a levels codebook."""

        name: Literal["levels"] = "levels"
        levels: tuple[Annotated[int, Field(ge=2, le=MOST_CODES)], ...] = Field(
            (8, 8, 8, 5, 5, 5), min_length=1, max_length=24
        )
        """Values of each channel; their product is the number of codes, 64,000 here."""

        @model_validator(mode="after")
        def codes_can_be_listed(self) -> LevelsCodebook.Config:
            """Training looks codes up in a table of all."""
            if math.prod(self.levels) > MAX_CODES:
                raise ValueError(f"levels make {math.prod(self.levels):,} codes; at most {MAX_CODES:,}")
            return self

    TINY: ClassVar[dict[str, Any]] = {"levels": [4, 3]}
    DECIDES = ("name", "levels")
    IMPLICIT = True
    HAS_GRADIENT = False
    HAS_DIRECTION = False
    config: Config
    place: Tensor
    """Holds nothing; it moves with the model and tells its device."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, math.prod(config.levels), len(config.levels))
        self.register_buffer("place", torch.empty(0), persistent=False)

    @property
    def levels(self) -> Tensor:
        """Values of each channel (D,)."""
        return _on_device(self.config.levels, self.place.device)

    def codes(self) -> Tensor:
        levels_d = self.levels
        tokens_k = torch.arange(self.size, device=self.place.device)
        digits_kd = tokens_k[:, None] // (levels_d.cumprod(0) // levels_d) % levels_d
        return (digits_kd - levels_d // 2) / (levels_d // 2)

    def prepare(self, latents: Tensor) -> Tensor:
        levels_d = self.levels
        half_d, offset_d = (levels_d - 1) * (1 + 1e-3) / 2, (levels_d % 2 == 0) * 0.5
        bounded = (latents.movedim(1, -1) + (offset_d / half_d).atanh()).tanh() * half_d - offset_d
        return (bounded / (levels_d // 2)).movedim(-1, 1)

    def assign(self, vectors_md: Tensor, codes_kd: Tensor) -> Tensor:
        levels_d, half_d = self.levels, self.levels // 2
        digits_md = ((vectors_md * half_d).round().long() + half_d).clamp(min=0).minimum(levels_d - 1)
        return (digits_md * (levels_d.cumprod(0) // levels_d)).sum(1)

    def scale(self, step: int) -> Tensor | float:
        return (1 / self.levels) ** step


@cache
def _on_device(levels: tuple[int, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # kept, and one day part of a graph
        return torch.tensor(levels, device=device)
