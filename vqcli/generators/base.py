"""The generator contract: labels to tokens, or to latents, of a tokenizer.

Autocast is the caller's: a generator computes in the number format that it is called in.
Shape letters: B images, L tokens an image, n tokens of a step, D width, h, w sides of latents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vqcli.config import PartConfig
from vqcli.errors import VqcliError
from vqcli.types import (
    CodeSteps,
    Grid,
    Latents,
    Made,
    Makes,
    Progress,
    TokenizerSpec,
    Tokens,
    grid_length,
    silent,
)

SAMPLE = 3
"""What a random stream is for: ``data.loader`` has 0 to 2, and two purposes never share one."""
Streams = Sequence[np.random.Generator]
"""A stream of random numbers for every image, so that none depends on the others of its batch."""


def image_stream(seed: int, label: int, index: int) -> np.random.Generator:
    """The random numbers of image ``index`` of a class: the same on every machine, in every batch."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([SAMPLE, seed, label, index])))


def hidden_classes(labels: Tensor, share: float, null: int) -> Tensor:
    """Labels (B,), a share of which is drawn to become ``null``: so guidance is learned."""
    return (
        labels.masked_fill(torch.rand(labels.shape, device=labels.device) < share, null) if share else labels
    )


def drawn(numbers: Iterable[np.ndarray], like: Tensor) -> Tensor:
    """Random numbers of every image, float32, on the device of ``like``."""
    return torch.from_numpy(np.stack(list(numbers))).to(like.device, torch.float32)


class HasCodes(Protocol):
    """A tokenizer, as far as a generator is concerned."""

    def code_steps(self) -> CodeSteps:
        """Its codes, step by step."""


class Generator(nn.Module, ABC):
    """Makes images of a class, as tokens or latents of the tokenizer that ``spec`` describes."""

    Config: ClassVar[type[PartConfig]]
    """Its ``sampling`` holds the defaults of ``sample``, exported with the model."""
    TINY: ClassVar[dict[str, Any]]
    makes: ClassVar[Makes]
    UNIT: ClassVar[str] = "tokens"
    """What ``sample`` counts as it goes, for a progress bar."""
    NEEDS: ClassVar[tuple[Literal["codes"], ...]] = ()
    """What it must be handed of its tokenizer beside ``spec``: ``codes``, step by step."""
    LOSSES: ClassVar[tuple[str, ...]]
    """Names of what ``forward`` gives."""
    config: Any
    """It has ``name``, ``classes`` and ``sampling``."""
    null_class: int | None = None
    """The label that stands for no class; None where guidance is not possible."""
    UNGUIDED: ClassVar[float] = 1.0
    """The scale of guidance up to which there is none."""
    UNDECAYED: ClassVar[tuple[str, ...]] = ()
    """How names of matrices end that weight decay leaves alone, as it does vectors."""
    code_steps: CodeSteps
    """Set by ``attach`` where ``NEEDS`` asks for it."""

    def __init__(self, config: Any, spec: TokenizerSpec) -> None:
        """Raises VqcliError where it cannot make such tokens, ValueError where images have no fixed grid."""
        super().__init__()
        if self.makes == "tokens" and not spec.codebook_size:
            raise VqcliError(
                f"{config.name} generates tokens, but its tokenizer has no codebook: it makes latents",
                hint="name a tokenizer that has a codebook: vqcli list models",
                reason="wrong-kind",
            )
        if spec.grid is None:
            raise ValueError("a generator needs a tokenizer that tells its image size")
        if wrong := self.misfit(spec.grid):
            hint = "vqcli list recipes: the tokenizers of VAR and FVQ-VAR are multi-scale"
            raise VqcliError(f"{config.name} {wrong}", hint=hint, reason="wrong-kind")
        self.config, self.spec = config, spec

    @property
    def grid(self) -> Grid:
        """Layout of the tokens it makes."""
        assert self.spec.grid
        return self.spec.grid

    @classmethod
    def misfit(cls, grid: Grid) -> str:
        """Why it cannot make tokens of this layout, in words after its name; empty where it can."""
        return ""

    def attach(self, tokenizer: HasCodes) -> None:
        """Take what ``NEEDS`` names from the tokenizer, which must be where it will stay."""
        if "codes" in self.NEEDS:
            self.code_steps = tokenizer.code_steps()

    def blank(self, images: int, device: torch.device | str = "cpu") -> Made:
        """What it makes, of so many images, all zero: the shapes alone."""
        if self.makes == "latents":
            zeros = torch.zeros(images, self.spec.width, *self.grid[-1], device=device)
            return Latents(zeros, self.spec.latents)
        return Tokens(
            torch.zeros(images, grid_length(self.grid), dtype=torch.int64, device=device), self.grid
        )

    def begin_step(self, step: int) -> None:
        """An optimizer step of training begins, counted from 0."""

    @abstractmethod
    def forward(self, made: Made, labels: Tensor) -> dict[str, Tensor]:
        """Weighted losses of images, given as what it makes, with labels (B,).

        Latents come standardized by ``spec.latents``, where that tells how.
        """

    @abstractmethod
    def compile_step(self) -> None:
        """Compile what sampling does again and again; the first images pay for it."""

    def guided(self, sampling: PartConfig) -> bool:
        """Whether this sampling compares a class with none."""
        return getattr(sampling, "cfg", 0) > self.UNGUIDED

    def both(self, labels: Tensor, sampling: PartConfig) -> Tensor:
        """Labels (B,), and where this sampling is guided the null class as often behind them, (2B,).

        Raises ValueError where guidance is asked for and the network knows no null class.
        """
        if not self.guided(sampling):
            return labels
        if self.null_class is None:
            off = f"{self.UNGUIDED:g}"
            raise ValueError(
                f"{self.config.name} has no class that stands for none: it takes no cfg above {off}"
            )
        return torch.cat([labels, torch.full_like(labels, self.null_class)])

    def made_as(self, sampling: PartConfig) -> Makes:
        """What this sampling makes of what the generator learned: mostly the same."""
        return self.makes

    def effort(self, sampling: PartConfig) -> int:
        """Units of progress that an image takes."""
        return grid_length(self.grid)

    @abstractmethod
    def sample(
        self, labels: Tensor, streams: Streams, sampling: PartConfig, progress: Progress = silent
    ) -> Made:
        """Images of labels (B,), each from its own stream; ``progress`` advances by ``effort`` an image.

        Latents are made as they were learned: standardized by ``spec.latents``, where that tells how.
        """
