"""Which images a run trains on, and which it is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqcli.data.config import DataConfig
from vqcli.data.holdout import holdout
from vqcli.data.images.base import Source
from vqcli.data.images.open import open_source, open_split
from vqcli.data.images.splits import split_name
from vqcli.types import Progress, silent

HELD_OUT = ("validation", "test")
"""Splits that serve as held-out images, the first that is there."""


@dataclass(frozen=True)
class Division:
    """Images to train on and images to measure on: a source and indices into it, each."""

    source: Source
    training: NDArray[np.int64]
    held_out_source: Source
    held_out: NDArray[np.int64]


def divide(config: DataConfig, progress: Progress = silent) -> Division:
    """Train on ``config.split`` (``train`` where data has splits), measure on ``validation`` or ``test``.

    Where there is neither, ``config.holdout`` of the images is kept back, chosen by hash of the key.
    Raises VqcliError if the images are not there.
    """
    everything = open_source(config.source, config.reading(), progress)
    split = split_name(config.split) if config.split else "train" if "train" in everything.splits else None
    source = open_split(everything, config.source, config.reading(split)) if split else everything
    other = next((name for name in HELD_OUT if split and name != split and name in everything.splits), None)
    if other is None:
        training, held_out = holdout(source, config.holdout)
        return Division(source, training, source, held_out)
    held = open_split(everything, config.source, config.reading(other))
    return Division(source, np.arange(len(source)), held, np.arange(len(held)))
