"""The classifier contract: tokens of a tokenizer to classes.

Autocast is the caller's: a classifier computes in the number format that it is called in.
Shape letters: B images, L tokens an image, D code width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from vqcli.config import PartConfig
from vqcli.errors import VqcliError
from vqcli.types import CodeSteps, Grid, TokenizerSpec, Tokens, grid_length


class HasCodes(Protocol):
    """A tokenizer, as far as a classifier is concerned."""

    def code_steps(self) -> CodeSteps:
        """Its codes, step by step."""


class Classifier(nn.Module, ABC):
    """Tells the class of images, given as tokens of the tokenizer that ``spec`` describes."""

    Config: ClassVar[type[PartConfig]]
    TINY: ClassVar[dict[str, Any]]
    makes: ClassVar[Literal["tokens"]] = "tokens"
    """How it sees images."""
    NEEDS: tuple[Literal["codes"], ...] = ()
    """What it must be handed of its tokenizer beside ``spec``: ``codes``, step by step."""
    LOSSES: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    """Names of what ``forward`` gives."""
    UNDECAYED: ClassVar[tuple[str, ...]] = ()
    """How names of matrices end that weight decay leaves alone, as it does vectors."""
    config: Any
    """It has ``name`` and ``classes``."""
    code_steps: CodeSteps
    """Set by ``attach`` where ``NEEDS`` asks for it."""

    def __init__(self, config: Any, spec: TokenizerSpec) -> None:
        """Raises VqcliError where there are no tokens, ValueError where images have no fixed grid."""
        super().__init__()
        if not spec.codebook_size:
            raise VqcliError(
                f"{config.name} looks at tokens, but its tokenizer has no codebook: it makes latents",
                hint="name a tokenizer that has a codebook: vqcli list models",
                reason="wrong-kind",
            )
        if spec.grid is None:
            raise ValueError("a classifier needs a tokenizer that tells its image size")
        self.config, self.spec = config, spec

    @property
    def grid(self) -> Grid:
        """Layout of the tokens it looks at."""
        assert self.spec.grid
        return self.spec.grid

    def attach(self, tokenizer: HasCodes) -> None:
        """Take what ``NEEDS`` names from the tokenizer, which must be where it will stay."""
        if "codes" in self.NEEDS:
            self.code_steps = tokenizer.code_steps()

    def blank(self, images: int, device: torch.device | str = "cpu") -> Tokens:
        """Tokens of so many images, all 0: the shapes alone."""
        ids = torch.zeros(images, grid_length(self.grid), dtype=torch.int64, device=device)
        return Tokens(ids, self.grid)

    @abstractmethod
    def forward(self, tokens: Tokens, labels: Tensor) -> dict[str, Tensor]:
        """Weighted losses of images with labels (B,); what makes training harder is not in evaluation."""

    @abstractmethod
    def logits(self, tokens: Tokens) -> Tensor:
        """A number for each class, float32 (B, classes): their softmax is what it believes."""
