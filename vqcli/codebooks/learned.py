"""Learned codebook: a table trained by gradient (VQGAN, LlamaGen VQ, VAR, IBQ), and what others are baked to.

Paper: van den Oord et al., "Neural Discrete Representation Learning", https://arxiv.org/abs/1711.00937.
Shape letters: K codes, D width.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from vqcli.codebooks.base import Codebook, Init, TableConfig, initial_codes


class LearnedCodebook(Codebook):
    """A table of codes, trained by gradient: the parameter ``weight`` (K, D)."""

    class Config(TableConfig):
        """Options of a learned codebook."""

        name: Literal["learned"] = "learned"
        init: Init = "uniform"
        """``uniform``: U(-1/K, 1/K), VQGAN's; ``unit``: the same, of length 1, for a cosine quantizer;
        ``normal``: N(0, 1/D), of length about 1; ``standard``: N(0, 1), IBQ's and VAR's."""

    TINY: ClassVar[dict[str, Any]] = {"size": 16, "width": 8}

    def __init__(self, config: Config) -> None:
        super().__init__(config, config.size, config.width)
        self.weight = nn.Parameter(initial_codes(config.init, config.size, config.width))

    @classmethod
    def from_codes(cls, codes_kd: Tensor) -> Self:
        """A codebook with a copy of these codes: what baking, pruning and importing produce."""
        size, width = codes_kd.shape
        with torch.device("meta"):  # no random start only to throw it away
            book = cls(cls.Config(size=size, width=width))
        book.weight = nn.Parameter(codes_kd.detach().float().clone())
        return book

    def codes(self) -> Tensor:
        return self.weight.float()

    def adopt(self, codes_kd: Tensor) -> bool:
        self.weight.data.copy_(codes_kd)
        return True
