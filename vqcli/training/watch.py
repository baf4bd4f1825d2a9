"""Words for a codebook that loses codes while it trains, read off the log."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vqcli.metrics.usage.diagnosis import ANNEALED, FALLEN, WINDOW
from vqcli.metrics.usage.facts import share_of_uniform

SENTENCE = (
    "utilization has fallen from {best:.0%} to {now:.0%} of what uniform use would show{how}; "
    "vqcli usage-report RUN --images IMAGES names the cause and the cure"
)


class UsageWatch:
    """Says once that usage has fallen by more than a third of its best, and again after a third more."""

    def __init__(self, codebook_size: int) -> None:
        self.size = codebook_size
        self.forget()

    def forget(self) -> None:
        """Start anew, as in each line of a warm-up: what was used before it ended tells nothing."""
        self.shares: list[float] = []
        """Utilization over that of uniform use, of the last lines."""
        self.best = 0.0
        """The best mean of ``WINDOW`` lines so far."""
        self.top_rate, self.rate = 0.0, 0.0
        """Highest learning rate, and that of the last line."""

    def read(self, numbers: Mapping[str, float]) -> list[str]:
        """What is to be said of usage with this line of the log."""
        rate = numbers["learning_rate"]
        if rate > self.rate > 0:
            self.forget()
        self.rate, self.top_rate = rate, max(rate, self.top_rate)
        self.shares = [*self.shares, share_of_uniform(self.size, numbers)][-WINDOW:]
        if len(self.shares) < WINDOW:
            return []
        mean, best = sum(self.shares) / WINDOW, self.best
        self.best = max(best, mean)
        if mean >= FALLEN * best:
            return []
        how = " while the rate was annealed" if rate <= ANNEALED * self.top_rate else ""
        told = SENTENCE.format(best=best, now=self.shares[-1], how=how)
        self.shares, self.best = [], 0.0  # the next fall is one from where this ends
        return [told]

    def state(self) -> Tensor:
        """What has been read so far, for a checkpoint."""
        unread = [-1.0] * (WINDOW - len(self.shares))
        known = [self.best, self.top_rate, self.rate, *self.shares, *unread]
        return torch.tensor(known, dtype=torch.float64)

    def load_state(self, state: Tensor) -> None:
        """Take ``state()`` back."""
        self.best, self.top_rate, self.rate, *shares = state.tolist()
        self.shares = [share for share in shares if share >= 0]
