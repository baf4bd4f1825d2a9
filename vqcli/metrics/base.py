"""The contract of metrics: each sees images batch after batch, and what several processes saw adds up.

Shape letters: B images of a batch, N images in all, H, W sides in pixels, L tokens an image,
R guesses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vqcli.config import PartConfig
from vqcli.nn.inception import InceptionFeatures
from vqcli.types import Grid

Side = Literal["reference", "sample"]
"""What a set of images is measured against, and what is measured."""
State = dict[str, Tensor]
"""All that a metric has seen, in a form that files keep."""
UNLIKE = "not comparable with published numbers of 50,000 images"
"""What is said of numbers of sets that are smaller."""


class Metric(ABC):
    """A number, or a few, that a set of images comes to. Nothing but ``state`` grows while it sees images."""

    Config: ClassVar[type[PartConfig]]
    TINY: ClassVar[dict[str, Any]] = {}
    TITLES: ClassVar[Mapping[str, str]]
    """What people call each number of ``result``, with its unit: {"psnr": "PSNR (dB)"}."""

    def __init__(self, config: PartConfig) -> None:
        self.config = config

    @property
    def network(self) -> str:
        """Name of the published network it needs; empty where it has none."""
        return ""

    @abstractmethod
    def state(self) -> State:
        """All that was seen, on the CPU."""

    @abstractmethod
    def merge(self, state: State) -> None:
        """Add what another process saw: a ``state`` of a metric of the same configuration."""

    @abstractmethod
    def result(self) -> dict[str, float]:
        """The numbers, by the names of ``TITLES``; left out where too few images were seen for them."""


class PairMetric(Metric):
    """Compares each reconstruction with its image; a set's number is the mean over its images."""

    def __init__(self, config: PartConfig) -> None:
        super().__init__(config)
        self.indices: list[Tensor] = []
        """Numbers of the images that were compared."""
        self.found: list[Tensor] = []
        """What was found, float64, in the same order."""

    @abstractmethod
    def measure(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """What each pair comes to, float64 (B,) on the CPU.

        Both are float32 (B, 3, H, W) on one device, in [-1, 1] but for a reconstruction that its protocol
        does not round, which may leave it. Raises ValueError on unequal shapes or images that are too small.
        """

    @property
    @abstractmethod
    def lower_is_better(self) -> bool:
        """Whether a smaller number means nearer images."""

    def load(self, weights: dict[str, Tensor], device: torch.device) -> None:
        """Take the weights of ``network``, as they were published. Raises VqcliError if they do not fit."""
        raise NotImplementedError

    def observe(self, indices: np.ndarray, images: Tensor, reconstructions: Tensor) -> None:
        """See pairs of images; ``indices`` (B,) are their numbers in the source."""
        self.indices.append(torch.from_numpy(indices).long())
        self.found.append(self.measure(images, reconstructions))

    def state(self) -> State:
        """Numbers of images and what was found of each, (N,) both."""
        none = torch.empty(0)  # and one tensor from here on: thousands of small ones cost more than they hold
        self.indices = [torch.cat([none.long(), *self.indices])]
        self.found = [torch.cat([none.double(), *self.found])]
        return {"indices": self.indices[0], "found": self.found[0]}

    def merge(self, state: State) -> None:
        """Add what another process found."""
        self.indices.append(state["indices"])
        self.found.append(state["found"])

    def result(self) -> dict[str, float]:
        """The mean over all images."""
        found = self.state()["found"]
        (name,) = self.TITLES
        return {name: found.mean().item()} if len(found) else {}


class SetMetric(Metric):
    """Compares a set of images with another by what the FID Inception network makes of each."""

    @property
    def network(self) -> str:
        """The FID Inception network."""
        return "fid-inception"

    SIDES: ClassVar[frozenset[Side]] = frozenset({"reference", "sample"})
    """What it looks at."""
    LEAST: ClassVar[int] = 50
    """Images a side below which its number tells nothing of either set."""

    def seen(self) -> dict[Side, int]:
        """Images of each side that its number is made of; without a side of which nobody tells.

        Empty where a metric keeps no count: then it is asked for its number however few there were.
        """
        return {}

    def caution(self) -> str:
        """What is wrong with its number where few images were seen for it; empty where nothing is."""
        return ""

    def take_statistics(self, statistics: Mapping[str, np.ndarray]) -> bool:
        """Take the reference's stored statistics (``mu``, ``sigma``, ``mu_s``, ``sigma_s``: ADM's files).

        ``images`` is how many they are of, where the file tells.

        False where they do not suffice: then it has to see the reference's images. Raises VqcliError where
        they have not the form they should.
        """
        return False

    def expect(self, samples: int) -> None:
        """Be told how many samples there will be, before any is seen."""

    @abstractmethod
    def observe(self, side: Side, indices: np.ndarray, features: InceptionFeatures) -> None:
        """See features of images of one side; ``indices`` (B,) are their numbers in the order of the set."""


class TokenMetric(Metric):
    """Looks at the tokens of images."""

    @abstractmethod
    def observe(self, ids: np.ndarray, grid: Grid) -> None:
        """See tokens (B, L) of one grid."""


class LabelMetric(Metric):
    """Looks at what a classifier takes images for."""

    @abstractmethod
    def observe(self, labels: np.ndarray, guesses: np.ndarray) -> None:
        """See images of classes (B,) with the classes that were guessed, (B, R), likeliest first."""
