"""What an evaluation found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import vqcli
from vqcli.jobs.evaluation.mistakes import hardest
from vqcli.jobs.evaluation.work import Reconstructions

TIMES = ("seconds", "images_per_second")
"""What another evaluation of the same differs in."""
SHARES = ("utilization", "uniform_expectation", "precision", "recall", "top1", "top5", "top1_by_class")
"""Numbers that are shares."""


@dataclass(frozen=True)
class EvaluateResult:
    """Numbers, and all that one must know to compare them with others."""

    target: str
    kind: str
    """A row of ``checkpoint.kinds``, or ``images``."""
    reference: str
    """What was measured against; empty if nothing was."""
    protocol: str
    summary: str
    """What the protocol stands for."""
    preparation: str
    """What was done to the images."""
    results: dict[str, float | None]
    """By name; None where there were too few images, as ``unmeasured`` tells."""
    cautions: dict[str, str]
    """What is wrong with a number of ``results``: made of too few images, or by other weights than usual."""
    titles: dict[str, str]
    """What people call each number of ``results``."""
    metrics: dict[str, dict[str, Any]]
    """All options of each metric."""
    networks: dict[str, str]
    """Where the weights of each network come from, and their hash."""
    random_networks: bool
    """Whether these have random weights: then their numbers mean nothing."""
    unmeasured: dict[str, str]
    """Metrics that were to be measured and are not, and why."""
    counts: dict[str, int]
    """Images of each stretch of work that could be used."""
    worst: list[dict[str, Any]]
    """Where images are compared one by one: key and numbers of those that came out worst, first of all."""
    unmatched: dict[str, list[str]]
    """Keys of images without a partner, by what named them, where those of two sets are compared."""
    classes: str
    """How many classes a generator and its reference have, and have in common, where these differ by name."""
    per_class: list[dict[str, Any]]
    """Of a classifier: of every class that occurred its images, the share that was right at the first guess,
    and what it was most often mistaken for."""
    rejected: list[dict[str, str]]
    """Images that could not be used: ``key``, ``reason``, and ``of`` which stretch of work."""
    seconds: float
    images_per_second: float | None
    """Of all processes together, of what this command did; None if nothing was left to do."""
    plan: dict[str, Any]
    """What decided the numbers: hashes of models, sampling, precision, where images lie."""
    version: str = vqcli.__version__

    def rows(self, *, timed: bool = True) -> list[tuple[str, str]]:
        """What a table for people says, line by line; ``timed``: how fast it was, too."""
        counts = ", ".join(f"{count:,} ({what})" for what, count in self.counts.items())
        judged = bool(self.per_class)
        reconstructs = Reconstructions.what in self.counts or judged
        speed = f"{self.images_per_second:,.1f} images/s" if self.images_per_second else "all was there"
        return [
            *([] if judged else [("protocol", f"{self.protocol}: {self.summary}")]),
            ("images", counts + (f" of {self.reference}" if reconstructs else "")),
            *([("against", self.reference)] if self.reference and not reconstructs else []),
            ("preparation", self.preparation),
            *(
                [("classes", f"{self.classes}: the numbers compare different classes")]
                if self.classes
                else []
            ),
            *(("no partner", f"{len(keys):,} of {what}") for what, keys in self.unmatched.items() if keys),
            *((self.titles[name], self._told(name)) for name, x in self.results.items() if x is not None),
            *((self._title(name), f"not measured: {why}") for name, why in self.unmeasured.items()),
            *([("worst classes", hardest(self.per_class))] if judged else []),
            *(("network", f"{name}, {what}") for name, what in self.networks.items()),
            *([("speed", speed)] if timed else []),
        ]

    def _told(self, name: str) -> str:
        told, caution = _number(name, self.results[name]), self.cautions.get(name)
        return f"{told}  ({caution})" if caution else told

    def _title(self, metric: str) -> str:
        return self.titles.get(metric) or self.titles.get(f"r{metric}") or metric


def _number(name: str, value: float | None) -> str:
    """A number as people read it."""
    if isinstance(value, int):
        return f"{value:,}"
    if name.startswith("kid"):
        return f"{value:.6f}"
    return f"{value:.2%}" if name in SHARES else f"{value:,.4f}"
