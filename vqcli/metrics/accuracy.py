"""How often a classifier is right: at its first guess, among its first five, and class by class.

Shape letters: B images, R guesses, P pairs of a class and a first guess.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch

from vqcli.config import MOST_CLASSES, PartConfig
from vqcli.metrics.base import LabelMetric, State

TOP = 5
WIDE = 2 * MOST_CLASSES
"""A pair of class and guess is one number: class * WIDE + guess."""


class Accuracy(LabelMetric):
    """Top-1 and top-5 accuracy, and the mean of all classes' own, counted over labelled images."""

    class Config(PartConfig):
        """Accuracy has no options."""

        name: Literal["accuracy"] = "accuracy"

    config: Config
    TITLES: ClassVar = {
        "top1": "top-1 accuracy",
        "top5": "top-5 accuracy",
        "top1_by_class": "top-1 accuracy, mean of the classes",
    }

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.counts: dict[int, int] = {}
        """Images by pair of class and first guess: of a million classes few occur."""
        self.hits = 0
        """Images whose class was among the first guesses."""

    def observe(self, labels: np.ndarray, guesses: np.ndarray) -> None:
        """See images of classes (B,) with the classes that were guessed, (B, R), likeliest first."""
        pairs, counts = np.unique(labels.astype(np.int64) * WIDE + guesses[:, 0], return_counts=True)
        self._add(pairs, counts)
        self.hits += int((guesses[:, :TOP] == labels[:, None]).any(1).sum())

    def _add(self, pairs: np.ndarray, counts: np.ndarray) -> None:
        for pair, count in zip(pairs.tolist(), counts.tolist()):
            self.counts[pair] = self.counts.get(pair, 0) + count

    def pairs(self) -> np.ndarray:
        """Class, first guess and images of every pair that occurred, int64 (P, 3), in order."""
        found = [(*divmod(pair, WIDE), count) for pair, count in sorted(self.counts.items())]
        return np.array(found, np.int64).reshape(-1, 3)

    def state(self) -> State:
        """Pairs with their images, (P, 3), and the images whose class was among the first guesses."""
        return {"pairs": torch.from_numpy(self.pairs()), "hits": torch.tensor(self.hits)}

    def merge(self, state: State) -> None:
        """Add another's counts."""
        pairs = state["pairs"].numpy()
        self._add(pairs[:, 0] * WIDE + pairs[:, 1], pairs[:, 2])
        self.hits += int(state["hits"])

    def by_class(self) -> dict[int, tuple[int, int]]:
        """Of every class that occurred: its images, and those that were right at the first guess."""
        found: dict[int, tuple[int, int]] = {}
        for label, guess, count in self.pairs().tolist():
            images, right = found.get(label, (0, 0))
            found[label] = (images + count, right + count * (label == guess))
        return found

    def result(self) -> dict[str, float]:
        """Shares of all images, and the mean of each class's share; nothing where no image was seen."""
        every = self.by_class()
        if not every:
            return {}
        images, right = (sum(each[i] for each in every.values()) for i in range(2))
        mean = sum(right / images for images, right in every.values()) / len(every)
        return {"top1": right / images, "top5": self.hits / images, "top1_by_class": mean}
