"""No codebook: what an autoencoder has in its place, so that its latents stay as they are."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from vqcli.codebooks.base import Codebook
from vqcli.config import WIDEST, PartConfig


class NoCodebook(Codebook):
    """No codes at all, for an autoencoder that makes latents: (0, D), for the quantizer ``none``."""

    class Config(PartConfig):
        """Options where there is no codebook."""

        name: Literal["none"] = "none"
        width: int = Field(4, ge=1, le=WIDEST)
        """Channels D of the latents."""

    TINY: ClassVar[dict[str, Any]] = {"width": 8}
    IMPLICIT = True
    HAS_GRADIENT = False
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config, 0, config.width)

    def codes(self) -> Tensor:
        return torch.zeros(0, self.width)
