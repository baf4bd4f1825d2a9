"""Where a task finds the models it stands on; who runs it decides whether they may be downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import Tensor

from vqcli.types import TokenizerSpec


class Models(Protocol):
    """Models by the names that recipes give them."""

    def folder(self, reference: str) -> Path:
        """The model folder of a reference. Raises VqcliError where there is none."""

    def spec(self, reference: str, size: tuple[int, int] | None) -> TokenizerSpec:
        """What a tokenizer is, for images of ``size`` or else its own; no weights are read.

        Raises VqcliError where there is no tokenizer, or it takes no images of this size.
        """

    def network(self, name: str, given: str | None) -> dict[str, Tensor]:
        """The weights of a published network, by key as published; ``given`` is a file or folder of them.

        Empty where the recipe is only looked at. Raises VqcliError where they cannot be had.
        """
