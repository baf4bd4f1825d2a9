"""Codebook usage as a metric: distinct tokens over a stated set of images, as ``usage.json`` has it.

Shape letters: B images, L tokens an image, K codes, E entries of the grid.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch

from vqcli.config import PartConfig
from vqcli.metrics.base import State, TokenMetric
from vqcli.metrics.usage.counts import UsageCounts, UsageReport
from vqcli.types import Grid


class CodeUsage(TokenMetric):
    """Utilization and perplexity of a codebook, counted exactly: published tables often have a queue's."""

    class Config(PartConfig):
        """Usage has no options."""

        name: Literal["usage"] = "usage"

    config: Config
    TITLES: ClassVar = {
        "utilization": "utilization",
        "uniform_expectation": "utilization if uniform",
        "perplexity": "perplexity (codes)",
        "used": "codes used",
        "tokens": "tokens",
        "codebook_size": "codes",
    }

    def __init__(self, config: Config, codebook_size: int) -> None:
        super().__init__(config)
        self.codebook_size = codebook_size
        self.counts: UsageCounts | None = None
        """None until the first tokens tell their grid."""

    def observe(self, ids: np.ndarray, grid: Grid) -> None:
        """Count tokens (B, L). Raises ValueError if they do not fit the codebook or the grids before."""
        self.counts = self.counts or UsageCounts(self.codebook_size, len(grid))
        self.counts.add(ids, grid)

    def state(self) -> State:
        """Counts (E, K), with no entry where no tokens were seen, and how many images they are of."""
        if self.counts is None:
            return {"counts": torch.zeros(0, self.codebook_size).long(), "images": torch.tensor(0)}
        return {
            "counts": torch.from_numpy(self.counts.counts_ek.copy()),
            "images": torch.tensor(self.counts.images),
        }

    def merge(self, state: State) -> None:
        """Add another's counts. Raises ValueError if it counted another codebook or grid."""
        entries, size = state["counts"].shape
        if not entries:
            return
        theirs = UsageCounts(size, entries)
        theirs.counts_ek, theirs.images = state["counts"].numpy(), int(state["images"])
        self.counts = self.counts or UsageCounts(self.codebook_size, entries)
        self.counts.merge(theirs)

    def report(self) -> UsageReport:
        """All there is to say of the usage."""
        return (self.counts or UsageCounts(self.codebook_size)).report()

    def result(self) -> dict[str, float]:
        """What ``usage.json`` tells; nothing where no tokens were seen."""
        report = self.report()
        return {name: getattr(report, name) for name in self.TITLES} if self.counts else {}
