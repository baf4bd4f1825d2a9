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


STARVED = 0.05
"""Share of an even slot's hits below which a slot of VQBridge learns next to nothing."""
SLOTS = (
    "{used:.0f} of the slots of VQBridge's patches are in use, the weakest gets {weakest:.1%} of an even "
    "slot's hits, and its codes learn little: --set tokenizer.codebook.revive_below=0.5 keeps slots alive"
)
REVIVED = "{revived:.0f} starved slots of VQBridge's patches took the rows of busy ones"


class UsageWatch:
    """Says once that usage has fallen by more than a third of its best, and again after a third more.

    Also that a slot of VQBridge's patches starves, once each time, and how many were revived.
    """

    def __init__(self, codebook_size: int) -> None:
        self.size = codebook_size
        self.forget()

    def forget(self) -> None:
        """Start anew, as in each line of a warm-up: what was used before it ended tells nothing."""
        self.shares: list[float] = []
        """Utilization over that of uniform use, of the last lines."""
        self.best = 0.0
        """The best mean of ``WINDOW`` lines so far."""
        self.starved = 0
        """Lines in a row in which a slot has starved."""
        self.top_rate, self.rate = 0.0, 0.0
        """Highest learning rate, and that of the last line."""

    def read(self, numbers: Mapping[str, float]) -> list[str]:
        """What is to be said of usage with this line of the log."""
        return self._usage(numbers) + self._slots(numbers)

    def _slots(self, numbers: Mapping[str, float]) -> list[str]:
        weakest, revived = numbers.get("weakest_slot", 1.0), numbers.get("revived_slots", 0.0)
        self.starved = self.starved + 1 if weakest < STARVED else 0
        told = [REVIVED.format(revived=revived)] if revived else []
        if self.starved == WINDOW and "revived_slots" not in numbers:
            told.append(SLOTS.format(used=numbers["slots"], weakest=weakest))
        return told

    def _usage(self, numbers: Mapping[str, float]) -> list[str]:
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
        known = [self.best, self.top_rate, self.rate, *self.shares, *unread, self.starved]
        return torch.tensor(known, dtype=torch.float64)

    def load_state(self, state: Tensor) -> None:
        """Take ``state()`` back."""
        self.best, self.top_rate, self.rate, *rest = state.tolist()
        shares, later = rest[:WINDOW], rest[WINDOW:]  # older ones know nothing of slots
        self.shares, self.starved = [share for share in shares if share >= 0], int(sum(later))
