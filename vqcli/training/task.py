"""The task contract: what the loop needs to know of the thing that is trained.

Shape letters: B images of a pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from PIL.Image import Image
from torch import Tensor, nn

from vqcli.training.recipe import Recipe
from vqcli.types import Progress

Losses = dict[str, Tensor]


class Task(ABC):
    """Parts with their losses. Each part has an optimizer of its own; ``model`` is the one that is exported.

    The loop may wrap an entry of ``parts`` (several processes): call parts through this table.
    """

    Config: ClassVar[type[Recipe]]
    parts: dict[str, nn.Module]

    @abstractmethod
    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, Losses]]:
        """Yield ``(part, weighted losses)``; the loop does backward and that part's step, then asks on.

        A loss that runs through another part leaves no gradients there: call it frozen and unwrapped.
        """

    @abstractmethod
    def start_from(self, model: str, progress: Progress) -> None:
        """Take a model's weights before the first step, the same on every process, and say which.

        Raises VqcliError where there is no model, it is damaged, or it does not fit.
        """

    def stepped(self, part: str) -> None:  # noqa: B027 (most tasks have nothing to do here)
        """After an optimizer step of a part."""

    @abstractmethod
    def numbers(self) -> dict[str, float]:
        """What is worth logging since the last call, beside the losses; the same on every process."""

    @abstractmethod
    def validate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Any]:
        """Measurements on held-out images; every process is given its share and returns those of all."""

    @abstractmethod
    def picture(self, model: nn.Module, images: Tensor) -> Image:
        """What the model makes of images (B, 3, H, W), beside them."""

    @abstractmethod
    def describe(self, model: nn.Module) -> dict[str, Any]:
        """``config.json`` of the model as it is, unbaked."""

    @abstractmethod
    def export(self, model: nn.Module, folder: Path, measured: dict[str, Any]) -> None:
        """Write the model folder, with the last measurements."""

    def tensors(self) -> dict[str, Tensor]:
        """This process's state outside the parts' modules that a resumed run needs."""
        return {}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:  # noqa: B027 (likewise)
        """Take ``tensors()`` back."""


class Batch:
    """Images (B, 3, H, W) in [-1, 1] and labels (B,), -1 where unknown, on the device."""

    __slots__ = ("images", "labels")

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
