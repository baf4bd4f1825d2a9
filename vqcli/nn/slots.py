"""Slots of VQBridge's patches: which code lies in which, and how a starved one comes back to life.

A block of rows of the bridge's last layer makes the codes at one place of every patch, so these K/P^2
codes live and die together: once no latent chooses one of them, the rows get no gradient (docs/vqbridge.md).
Shape letters: K codes, D width, h hidden, P side of a patch, S = P^2 slots, M tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vqcli.nn.distributed import all_reduce_sum


class SlotRevival(nn.Module):
    """Counts hits of slots; every so many steps, those with too few take the weights of those with the most.

    Equal on all processes, and the same again when it is resumed: its noise is a function of the step.
    """

    hits: Tensor
    steps: Tensor
    revived: Tensor

    def __init__(self, slots: int, *, below: float, every: int, noise: float) -> None:
        """``below`` is a share of an even slot's hits; ``noise`` one of the deviation of a slot's weights."""
        super().__init__()
        self.slots, self.below, self.every, self.noise = slots, below, every, noise
        self.register_buffer("hits", torch.zeros(slots, dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("revived", torch.zeros((), dtype=torch.int64))
        self.pending: Tensor | None = None
        """Hits (S,) of this process since the last step."""
        self.step: int | None = None
        """``steps`` on the host; None until the first step has asked: looking at a tensor holds up a GPU."""

    def observe(self, slots_m: Tensor) -> None:
        """Count the slots of the tokens of a pass."""
        if self.pending is None:
            self.pending = torch.zeros_like(self.hits)
        self.pending.scatter_add_(0, slots_m, torch.ones_like(slots_m))

    @torch.no_grad()
    def update(self, last: nn.Linear) -> Tensor | None:
        """After a step: rows (S*D,) of the bridge's last layer that begin anew, bool; None between times."""
        if self.pending is None:
            return None
        self.hits += all_reduce_sum(self.pending)
        self.pending = None
        self.step = int(self.steps) + 1 if self.step is None else self.step + 1
        self.steps += 1
        if self.step % self.every:
            return None
        starved_s, donors_s = self.starved()
        self._regrow(last.weight, starved_s, donors_s)
        self._regrow(last.bias, starved_s, donors_s)
        self.revived += starved_s.sum()
        self.hits.zero_()
        return starved_s.repeat_interleave(len(last.weight) // self.slots)

    def take(self) -> int:
        """How many slots came back to life since the last call."""
        revived = int(self.revived)
        self.revived.zero_()
        return revived

    def starved(self) -> tuple[Tensor, Tensor]:
        """Which slots starve, bool (S,), and whose weights each would take (S,): the emptiest the busiest's.

        Where more slots starve than do not, these give their weights to several.
        """
        few_s = self.hits * self.slots < self.below * self.hits.sum()
        order_s = self.hits.argsort(stable=True)
        busy = (~few_s).sum().clamp(min=1)
        donors_s = torch.empty_like(order_s)
        donors_s[order_s] = order_s.flip(0)[torch.arange(self.slots, device=order_s.device) % busy]
        return few_s, donors_s

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """What an older checkpoint does not count begins as it is."""
        for name, value in self.named_buffers():
            state_dict.setdefault(f"{prefix}{name}", value)
        super()._load_from_state_dict(state_dict, prefix, *others)

    def _regrow(self, weights: Tensor, starved_s: Tensor, donors_s: Tensor) -> None:
        """Give starved blocks of rows the donors' weights, and noise that sets the two apart."""
        assert self.step is not None
        blocks = weights.view(self.slots, -1)
        taken = blocks[donors_s]
        noise = torch.randn(taken.shape, generator=_generator(self.step, taken.device), device=taken.device)
        taken += self.noise * taken.std(1, keepdim=True, correction=0) * noise.to(taken)
        blocks.copy_(torch.where(starved_s[:, None], taken, blocks))


def _generator(seed: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)
