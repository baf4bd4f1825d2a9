"""What a run trains on and is measured on, as one of its processes sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from vqcli.data.config import DataConfig, eval_transform, train_transform
from vqcli.data.divide import Division, divide
from vqcli.data.images.base import Source, Told, identity
from vqcli.data.loader import TrainPlan, data_order, eval_batches, train_batches
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
    held: int
    """Images held out."""
    identity: dict[str, Any]
    """Tells whether a resumed run has the same."""
    classes: Sequence[str] = ()
    """Names of the labels; empty where nobody told them."""
    grid: Grid | None = None
    """Of tokens; None for images."""
    told: Told = field(default_factory=Told)
    """What a user should know of how images were read."""
    again: Callable[[int], Iterator[Any]] = lambda most: iter(())
    """Most training images, over all processes -> batches of this process's share, as held-out ones come to
    size: any of them, always the same. None where there are no images."""


def image_data(config: DataConfig, plan: TrainPlan) -> Data:
    """The images that a recipe's ``data`` names, at its size. Raises as ``training_images``."""
    return data_of(training_images(config), config, plan)


def data_of(images: Division, config: DataConfig, plan: TrainPlan) -> Data:
    """Batches of images that are divided already."""
    evaluate, workers = eval_transform(config), plan.num_workers

    def as_measured(source: Source, indices: np.ndarray) -> Iterator[Any]:
        return eval_batches(source, indices[plan.rank :: plan.world], evaluate, plan.batch_size, workers)

    def again(most: int) -> Iterator[Any]:
        some = data_order(plan.seed, 0, len(images.training))[:most]
        return as_measured(images.source, np.sort(images.training[some]))

    return Data(
        train=partial(train_batches, images.source, images.training, train_transform(config), plan),
        held_out=lambda most: as_measured(images.held_out_source, images.held_out[:most]),
        images=len(images.training),
        held=len(images.held_out),
        identity=identity(images.source.key(i) for i in images.training),
        classes=images.source.classes,
        told=images.source.told,
        again=again,
    )


def training_images(config: DataConfig) -> Division:
    """The images of a recipe, divided. Raises VqcliError that says how to name others."""
    with named_as_data():
        return divide(config)


@contextmanager
def named_as_data() -> Iterator[None]:
    """What is wrong with images is told with the key that names them. Raises VqcliError."""
    try:
        yield
    except VqcliError as e:
        absent = e.reason == "input-missing"
        hint = "--data names what to train on" if absent else e.hint
        raise VqcliError(f"data.source: {e}", hint=hint, reason=e.reason) from e
