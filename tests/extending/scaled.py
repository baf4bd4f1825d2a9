"""A codebook: a learned direction for every code, one learned length for all. K codes of width D."""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcli.codebooks.base import Codebook, TableConfig


class ScaledCodebook(Codebook):
    """Learned directions times one learned length."""

    class Config(TableConfig):
        """Options of a scaled codebook: ``size`` and ``width``."""

        name: Literal["scaled"] = "scaled"

    TINY: ClassVar[dict[str, Any]] = {"size": 16, "width": 8}

    def __init__(self, config: Config) -> None:
        super().__init__(config, config.size, config.width)
        self.directions_kd = nn.Parameter(torch.randn(config.size, config.width))
        self.length = nn.Parameter(torch.ones(()))

    def codes(self) -> Tensor:
        return F.normalize(self.directions_kd.float(), dim=1) * self.length
