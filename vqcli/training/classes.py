"""The classes of a run's data, numbered as the model numbers them that the run starts from or continues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vqcli.data.classes import places, readable
from vqcli.errors import VqcliError

NAMED = 5
"""Classes that a message names."""


class ClassList:
    """Names of classes by number; labels of the data are brought to these numbers."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._numbers: list[int] | None = None

    def follow(self, theirs: Sequence[str], folder: Path) -> str:
        """Number classes as the model in ``folder`` does, by their names; a sentence if that is worth one.

        Raises VqcliError if the model knows some of the classes and others not.
        """
        ours, self_named = readable(self.names), bool(self.names)
        if not theirs or not self_named:
            unnamed = folder if self_named else "the data"
            self.names = self.names or list(theirs)
            return f"the classes of {unnamed} have no names: taken as numbered" if self.names else ""
        found = places(self.names, theirs)
        numbers = [number for number in found if number is not None]
        missing = [name for name, number in zip(ours, found) if number is None]
        if not numbers:
            return f"{folder} knows other classes: their numbers now stand for {_some(ours)}"
        if missing:
            raise VqcliError(
                f"{folder} knows {len(numbers):,} of the {len(ours):,} classes of the data, "
                f"but not {_some(missing)}",
                hint="leave those images out, or call their folders as the model calls its classes",
                reason="labels",
            )
        self.names = list(theirs)
        moved = [
            f"{name} {i} -> {number}" for i, (name, number) in enumerate(zip(ours, numbers)) if i != number
        ]
        if not moved:
            return ""
        self._numbers = numbers
        return f"classes are numbered as in {folder}: {_some(moved)}"

    def number(self, labels: Tensor) -> Tensor:
        """Labels (B,) of the data, as the model numbers them."""
        return labels if self._numbers is None else torch.tensor(self._numbers, device=labels.device)[labels]


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
