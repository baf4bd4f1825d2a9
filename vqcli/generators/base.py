"""The generator contract: labels to tokens (or, for diffusion, latents) of a tokenizer.

Shape letters: B images, L tokens an image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from torch import Tensor, nn

from vqcli.config import PartConfig
from vqcli.types import Grid, Progress, TokenizerSpec, Tokens, silent

SAMPLE = 3
"""What a random stream is for: ``data.loader`` has 0 to 2, and two purposes never share one."""
Streams = Sequence[np.random.Generator]
"""A stream of random numbers for every image, so that none depends on the others of its batch."""


def image_stream(seed: int, label: int, index: int) -> np.random.Generator:
    """The random numbers of image ``index`` of a class: the same on every machine, in every batch."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([SAMPLE, seed, label, index])))


class GeneratorOptions(Protocol):
    """What every generator's configuration has."""

    name: str
    classes: int
    sampling: PartConfig


class Generator(nn.Module, ABC):
    """Makes images of a class, as tokens or latents of the tokenizer that ``spec`` describes."""

    Config: ClassVar[type[PartConfig]]
    """Its ``sampling`` holds the defaults of ``sample``, exported with the model."""
    TINY: ClassVar[dict[str, Any]]
    makes: ClassVar[Literal["tokens", "latents"]]
    LOSSES: ClassVar[tuple[str, ...]]
    """Names of what ``forward`` gives."""
    config: Any
    null_class: int | None = None
    """The label that stands for no class; None where guidance is not possible."""

    def __init__(self, config: Any, spec: TokenizerSpec) -> None:
        """Raises ValueError where the tokenizer's images have no fixed grid."""
        super().__init__()
        if spec.grid is None:
            raise ValueError("a generator needs a tokenizer that tells its image size")
        self.config, self.spec = config, spec

    @property
    def grid(self) -> Grid:
        """Layout of the tokens it makes."""
        assert self.spec.grid
        return self.spec.grid

    @abstractmethod
    def forward(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Weighted losses of images given as tokens (B, L) with labels (B,)."""

    @abstractmethod
    def compile_step(self) -> None:
        """Compile what sampling does again and again; the first images pay for it."""

    @abstractmethod
    def sample(
        self, labels: Tensor, streams: Streams, sampling: PartConfig, progress: Progress = silent
    ) -> Tokens:
        """Images of these labels (B,), each from its own stream; ``progress`` advances by L an image."""
