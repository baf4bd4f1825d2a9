"""What is not finite is never applied, and signals stop all processes at one step: no device is waited for.

Two flags lie on the device: a number was not finite; a process is asked to stop. They are set for good, on
all processes before the optimizer steps, which the first of them makes do nothing. The host reads in each
step what they were a step before: by then they are there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vqcli.nn.distributed import all_reduce_sum


class Check(NamedTuple):
    """A number that must be finite."""

    step: int
    """From 1, as it is told."""
    part: str
    value: Tensor
    """A scalar."""
    what: Callable[[], str]
    """What is said where it is not finite."""

    @property
    def holds(self) -> bool:
        """Whether it is finite; asks the device."""
        return bool(self.value.isfinite())


class Sent:
    """A tensor on its way to the host."""

    def __init__(self, tensor: Tensor) -> None:
        self.copy = tensor.to("cpu", non_blocking=True, copy=True)
        self.arrived = torch.cuda.Event() if tensor.is_cuda else None
        if self.arrived:
            self.arrived.record()

    def read(self) -> list[float]:
        """Its values, once they are there."""
        if self.arrived:
            self.arrived.synchronize()
        return [float(x) for x in self.copy.numpy()]


class Flags:
    """Two flags of all processes on the device, and the checks that they stand for."""

    def __init__(self, device: torch.device) -> None:
        self.values = torch.zeros(2, device=device)
        """1 where it holds: something was not finite; a process is asked to stop."""
        self.open: list[Check] = []
        """Checks of which the host does not know yet."""
        self.fresh: list[Tensor] = []
        """Numbers that are in no flag yet."""
        self.sent: Sent | None = None

    @property
    def skip(self) -> Tensor:
        """The first, a scalar: what fused optimizers read as ``found_inf``."""
        return self.values[0]

    def add(self, check: Check) -> None:
        """A number that ``share`` will look at."""
        self.open.append(check)
        self.fresh.append(check.value)

    def share(self, stop: bool) -> None:
        """Set the flags by what was added, on all processes. A collective call."""
        bad = torch.stack(self.fresh).isfinite().all().logical_not().float()
        both = all_reduce_sum(torch.stack([bad, torch.full_like(bad, float(stop))]))
        torch.maximum(self.values, both.clamp_(max=1), out=self.values)
        self.fresh.clear()

    def before(self, step: int) -> tuple[Check | None, bool]:
        """What failed until the step before ``step``, and whether to stop: the same on all processes."""
        last, self.sent = self.sent, Sent(self.values)
        return self._told(last.read(), step) if last else (None, False)

    def now(self) -> Check | None:
        """What has failed until now; waits for the device."""
        return self._told(Sent(self.values).read())[0]

    def _told(self, flags: list[float], step: int | None = None) -> tuple[Check | None, bool]:
        bad, stop = flags
        failed = next((check for check in self.open if not check.holds), self.open[0]) if bad else None
        self.open = [check for check in self.open if check.step == step]
        return failed, bool(stop)
