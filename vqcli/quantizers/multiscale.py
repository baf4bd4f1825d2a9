"""Multi-scale residual quantizer: residual steps from coarse to fine.

Paper: Tian et al., "VAR", https://arxiv.org/abs/2404.02905, section 3.2 and algorithms 1, 2.
Shape letters: B images, D code width, h, w sides of latents.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli.codebooks.base import Codebook
from vqcli.config import DEEPEST, LARGEST
from vqcli.quantizers.base import EstimatorConfig, sides
from vqcli.quantizers.residual import ResidualQuantizer, Size
from vqcli.types import Grid


class MultiscaleQuantizer(ResidualQuantizer):
    """Residual steps from coarse to fine; each adds phi(its codes, grown to full size)."""

    class Config(EstimatorConfig):
        """Options of the multi-scale quantizer."""

        name: Literal["multiscale"] = "multiscale"
        scales: tuple[Annotated[int, Field(ge=1, le=LARGEST)], ...] = Field(
            (1, 2, 3, 4, 5, 6, 8, 10, 13, 16), min_length=1, max_length=DEEPEST
        )
        """Side of each step's square of tokens; the last is the side of the latents."""
        phis: int = Field(4, ge=1, le=DEEPEST)
        """Convolutions shared among the steps."""
        phi_ratio: float = Field(0.5, ge=0, le=1)
        """Share r of the convolution: phi(x) = (1 - r) x + r conv(x)."""

        @model_validator(mode="after")
        def scales_fit(self) -> MultiscaleQuantizer.Config:
            """Scales grow; every convolution is used."""
            if self.scales[0] < 1 or any(a >= b for a, b in pairwise(self.scales)):
                raise ValueError(f"scales must grow from 1 or more, not {self.scales}")
            if self.phis > len(self.scales):
                raise ValueError(f"{self.phis} phis for {len(self.scales)} scales: at most one each")
            return self

    TINY: ClassVar[dict[str, Any]] = {"scales": [1, 2, 4], "phis": 2}
    DECIDES: ClassVar[tuple[str, ...]] = ("name", "scales", "phis", "phi_ratio")
    config: Config  # type: ignore[assignment]

    def __init__(self, config: Config, codebook: Codebook) -> None:
        super().__init__(config, codebook)
        width, steps = codebook.width, len(config.scales)
        self.phi = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(config.phis))
        self.phi_of_step = [nearest_tick(step, steps, config.phis) for step in range(steps)]

    def grid(self, height: int, width: int) -> Grid:
        last = self.config.scales[-1]
        if (height, width) != (last, last):
            raise ValueError(
                f"latents must be {last} x {last}, the last of the scales, not {height} x {width}"
            )
        return tuple((side, side) for side in self.config.scales)

    def length(self, step: int) -> Tensor | float:
        return 1.0  # a coarse step leaves nearly all of the latents to the finer ones

    def shrink(self, total: Tensor, size: Size) -> Tensor:
        return total if sides(total) == size else F.interpolate(total, size, mode="area")

    def grow(self, chosen: Tensor, step: int, size: Size) -> Tensor:
        if sides(chosen) != size:
            chosen = F.interpolate(chosen, size, mode="bicubic")
        ratio, phi = self.config.phi_ratio, self.phi[self.phi_of_step[step]]
        return (1 - ratio) * chosen + ratio * phi(chosen)


def nearest_tick(step: int, steps: int, phis: int) -> int:
    """Which phi a step uses: the nearest of ``phis`` even ticks in [0, 1].

    VAR's ten scales have two exact ties; numpy's rounding decides them as the published weights need.
    """
    ticks = np.linspace(1 / 3 / phis, 1 - 1 / 3 / phis, phis)
    return int(np.argmin(np.abs(ticks - step / max(1, steps - 1))))
