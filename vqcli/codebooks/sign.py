"""Sign codebook: the corners of a cube, one bit a channel; nothing is learned and nothing is searched.

Papers: Yu et al., "LFQ", https://arxiv.org/abs/2310.05737; with a cosine quantizer it is BSQ, Zhao et al.,
https://arxiv.org/abs/2406.07548.
Shape letters: M vectors compared, K codes, D bits.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from vqcli.codebooks.base import Codebook
from vqcli.config import PartConfig


class SignCodebook(Codebook):
    """The 2^bits corners of a cube: codes (K, D) of -1 and 1; a channel at 0 counts as -1."""

    class Config(PartConfig):
        """Options of a sign codebook."""

        name: Literal["sign"] = "sign"
        bits: int = Field(18, ge=1, le=24)
        """Channels, and bits of a token: there are 2^bits codes."""
        first_bit: Literal["lowest", "highest"] = "lowest"
        """What channel 0 counts in a token: ``lowest`` in Open-MAGVIT2, ``highest`` in lucidrains' LFQ."""

    TINY: ClassVar[dict[str, Any]] = {"bits": 4}
    DECIDES = ("name", "first_bit")
    IMPLICIT = True
    HAS_GRADIENT = False
    config: Config
    place: Tensor
    """Holds nothing; it moves with the model and tells its device."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, 2**config.bits, config.bits)
        self.register_buffer("place", torch.empty(0), persistent=False)

    def shifts(self) -> Tensor:
        """Place of each channel's bit in a token (D,)."""
        places_d = torch.arange(self.width, device=self.place.device)
        return places_d if self.config.first_bit == "lowest" else places_d.flip(0)

    def codes(self) -> Tensor:
        tokens_k = torch.arange(self.size, device=self.place.device)
        return (tokens_k[:, None] >> self.shifts() & 1) * 2.0 - 1

    def assign(self, vectors_md: Tensor, codes_kd: Tensor) -> Tensor:
        return ((vectors_md > 0).long() << self.shifts()).sum(1)

    def scale(self, step: int) -> Tensor | float:
        return 0.5**step
