"""The task contract: what the loop needs to know of the thing that is trained.

Shape letters: B images of a pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL.Image import Image
from torch import Tensor, nn

from vqcli.codebooks.base import Restarted
from vqcli.data.loader import TrainPlan
from vqcli.training.data import Data
from vqcli.training.models import Models
from vqcli.training.recipe import OptimizerConfig, Recipe, ScheduleConfig
from vqcli.types import Progress

Losses = dict[str, Tensor]


class Task(ABC):
    """Parts with their losses. Each part has an optimizer of its own; ``model`` is the one that is exported.

    The loop may wrap an entry of ``parts`` (several processes): call parts through this table.
    """

    Config: ClassVar[type[Recipe]]
    SHARDS: ClassVar[bool] = False
    """Whether parts may be spread over processes: they are called by ``forward`` and ``sample`` alone, in
    ``validate`` once a batch, in ``picture`` equally often on every process."""
    recipe: Recipe
    parts: dict[str, nn.Module]

    @abstractmethod
    def __init__(
        self,
        recipe: Any,
        device: torch.device,
        *,
        models: Models,
        data: Data | None = None,
        empty: bool = False,
    ) -> None:
        """Build the parts. ``data`` is what ``open_data`` gave, None where the recipe is only looked at.

        With ``empty`` nothing is drawn: a checkpoint will bring every weight. Raises VqcliError.
        """

    @classmethod
    @abstractmethod
    def open_data(cls, recipe: Any, plan: TrainPlan, models: Models) -> Data:
        """What the recipe trains on, as this process sees it. Raises VqcliError before anything is built."""

    def tuning(self, part: str) -> tuple[OptimizerConfig, ScheduleConfig]:
        """How a part is trained: as the recipe says, unless the task has other settings for it."""
        return self.recipe.optimizer, self.recipe.schedule

    def remarks(self, steps: int) -> list[str]:
        """What is odd about training for so many steps, a sentence each."""
        return []

    def missing(self) -> list[str]:
        """Why it would not train here, beside its data and its models: one sentence each."""
        return []

    def begin(self, data: Data, progress: Progress) -> None:  # noqa: B027 (most tasks have nothing to do here)
        """Before the first step of a new run: what must be measured of its data. A collective call."""

    @abstractmethod
    def example(self, images: int) -> tuple[Any, ...]:
        """What the model is given of so many images, of no values in particular."""

    def compute(self, images: int) -> object:
        """What the model and its losses come to for ``example``: for counting what backward keeps."""
        return self.parts["model"](*self.example(images))

    def beside(self) -> list[nn.Module]:
        """Networks that stand still beside the parts, and take memory too."""
        return []

    @abstractmethod
    def load(self, loaded: Any) -> Any:
        """A batch of ``open_data`` as the other methods want it, on the device."""

    @abstractmethod
    def losses(self, batch: Any, step: int) -> Iterator[tuple[str, Losses]]:
        """Yield ``(part, weighted losses)``; the loop does backward and that part's step, then asks on.

        A loss that runs through another part leaves no gradients there: call it frozen and unwrapped.
        """

    @abstractmethod
    def start_from(self, model: str, progress: Progress) -> None:
        """Take a model's weights before the first step, the same on every process, and say which.

        Raises VqcliError where there is no model, it is damaged, or it does not fit.
        """

    def observed(self) -> dict[str, Tensor]:
        """What the last pass showed beside its losses, scalars; logged as means, with the losses."""
        return {}

    def warnings(self, numbers: dict[str, float]) -> list[str]:
        """What goes wrong by the means of a line of the log, a sentence each, when it begins to."""
        return []

    def stepped(self, part: str) -> list[Restarted]:
        """After an optimizer step of a part; returns what of it begins anew."""
        return []

    @abstractmethod
    def numbers(self) -> dict[str, float]:
        """What is worth logging since the last call, beside the losses; the same on every process."""

    @abstractmethod
    def validate(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, Any]:
        """Measurements on held-out images; every process is given its share and returns those of all."""

    def complete(
        self, model: nn.Module, measured: dict[str, Any], again: Callable[[int], Iterator[Any]]
    ) -> dict[str, Any]:
        """The last measurements, with what held-out images are too few for.

        ``again`` gives batches of so many training images, this process's share. A collective call.
        """
        return measured

    def outline(self) -> str:
        """What of an image is learned, for the first lines of a run: its tokens, of how many codes."""
        return ""

    @classmethod
    def summary(cls, measured: dict[str, Any]) -> list[str]:
        """What a user is told of the last measurements, a line each."""
        return []

    @abstractmethod
    def picture(self, model: nn.Module, batch: Any) -> Image | None:
        """What the model makes, of held-out images where it needs some; None if there are none."""

    @abstractmethod
    def describe(self, model: nn.Module, folder: Path) -> None:
        """Write what tells of the model as it is, unbaked, into a checkpoint: ``config.json``, and more."""

    @abstractmethod
    def export(self, model: nn.Module, folder: Path, measured: dict[str, Any]) -> None:
        """Write the model folder, with the last measurements."""

    def identity(self) -> dict[str, Any]:
        """Tells whether a resumed run has the same networks beside its parts, as JSON."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """This process's state outside the parts' modules that a resumed run needs."""
        return {}

    def recall(self, folder: Path, progress: Progress) -> None:  # noqa: B027 (likewise)
        """Take what ``describe`` told of the data from a checkpoint. Raises VqcliError if it has changed."""

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:  # noqa: B027 (likewise)
        """Take ``tensors()`` back."""
