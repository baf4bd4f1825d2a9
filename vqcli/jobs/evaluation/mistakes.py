"""What a classifier mistakes for what, class by class.

Shape letters: P pairs of a class and a first guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vqcli.jobs.evaluation.measuring import Measuring
from vqcli.metrics.accuracy import Accuracy

SHOWN = 3
"""Classes that a line names."""


def pairs_of(total: Measuring) -> np.ndarray:
    """Class, first guess and images of every pair that occurred, int64 (P, 3); none where nothing counted."""
    found = (metric.pairs() for metric in total.metrics.values() if isinstance(metric, Accuracy))
    return next(found, np.zeros((0, 3), np.int64))


def per_class(total: Measuring, names: Sequence[str]) -> list[dict[str, Any]]:
    """A line for every class that occurred: number, name, images, accuracy, and its most frequent mistake."""
    pairs = pairs_of(total)
    lines = []
    for label in np.unique(pairs[:, 0]).tolist():
        own = pairs[pairs[:, 0] == label]
        images, right = own[:, 2].sum(), own[own[:, 1] == label, 2].sum()
        wrong = own[own[:, 1] != label]
        taken = int(wrong[wrong[:, 2].argmax(), 1]) if len(wrong) else None
        line = {"class": label, "name": _name(names, label), "images": int(images)}
        line |= {"accuracy": float(right / images), "mistaken_for": None if taken is None else taken}
        lines.append(line | {"mistaken_for_name": "" if taken is None else _name(names, taken)})
    return lines


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if label < len(names) else ""


def hardest(every: Sequence[dict[str, Any]]) -> str:
    """``star 91.00% (for cross), disc 97.50% (for ring)``: the classes that came out worst."""
    told = []
    for one in sorted(every, key=lambda each: each["accuracy"])[:SHOWN]:
        name = one["name"] or f"class {one['class']}"
        other = one["mistaken_for_name"] or f"class {one['mistaken_for']}"
        mistaken = "" if one["mistaken_for"] is None else f" (for {other})"
        told.append(f"{name} {one['accuracy']:.2%}{mistaken}")
    return ", ".join(told)
