"""What a run trains on and is measured on, as one of its processes sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from vqcli.data.config import DataConfig, eval_transform, train_transform
from vqcli.data.divide import Division, divide
from vqcli.data.images.base import identity
from vqcli.data.loader import TrainPlan, eval_batches, train_batches
from vqcli.errors import BadImage, VqcliError
from vqcli.types import Grid


class Loaded(Protocol):
    """A batch as the data gives it: images, or tokens."""

    @property
    def rejected(self) -> Sequence[BadImage]:
        """What was left out."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Data:
    """Batches to train on and to measure on."""

    train: Callable[[int], Iterator[Any]]
    """Number of the first pass -> endless batches."""
    held_out: Callable[[int], Iterator[Any]]
    """Most images, over all processes -> batches of this process's share."""
    images: int
    """Training images."""
    identity: dict[str, Any]
    """Tells whether a resumed run has the same."""
    classes: Sequence[str] = ()
    """Names of the labels; empty where nobody told them."""
    grid: Grid | None = None
    """Of tokens; None for images."""


def image_data(config: DataConfig, plan: TrainPlan) -> Data:
    """The images that a recipe's ``data`` names, at its size. Raises as ``training_images``."""
    return data_of(training_images(config), config, plan)


def data_of(images: Division, config: DataConfig, plan: TrainPlan) -> Data:
    """Batches of images that are divided already."""
    evaluate, workers = eval_transform(config), config.num_workers
    return Data(
        train=partial(train_batches, images.source, images.training, train_transform(config), plan),
        held_out=lambda most: eval_batches(
            images.held_out_source,
            images.held_out[:most][plan.rank :: plan.world],
            evaluate,
            plan.batch_size,
            workers,
        ),
        images=len(images.training),
        identity=identity(images.source.key(i) for i in images.training),
        classes=images.source.classes,
    )


def training_images(config: DataConfig) -> Division:
    """The images of a recipe, divided. Raises VqcliError that says how to name others."""
    try:
        return divide(config)
    except VqcliError as e:
        absent = e.reason == "input-missing"
        hint = "--data names what to train on" if absent else e.hint
        raise VqcliError(f"data.source: {e}", hint=hint, reason=e.reason) from e
