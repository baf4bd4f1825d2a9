"""Means of what is logged, over the steps since the last line."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from vqcli.nn.distributed import all_reduce_sum

KEY = re.compile(r"window\.(?:\d{3}\.)?(.+)")
"""A name in a checkpoint: the numbers keep the order, older ones have none."""


class Window:
    """Running sums of what is logged, since the last line; kept on the device so that adding never waits."""

    def __init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Forget what was added and start the clock."""
        self.sums: dict[str, Tensor] = {}
        """Sum and count of each name, float (2,)."""
        self.images, self.since = 0, time.monotonic()

    def add(self, numbers: dict[str, Tensor]) -> None:
        """One more value of each; one that is not finite is passed over."""
        for name, value in numbers.items():
            value = value.detach().float()
            finite = value.isfinite()
            counted = torch.stack([value.where(finite, torch.zeros_like(value)), finite.float()])
            self.sums[name] = self.sums[name] + counted if name in self.sums else counted

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count against images per second."""
        start = time.monotonic()
        yield
        self.since += time.monotonic() - start

    def close(self) -> dict[str, float]:
        """Means over all processes, and images per second; starts a new window. A collective call."""
        means = {}
        if self.sums:
            sums = all_reduce_sum(torch.stack(list(self.sums.values()))).tolist()
            means = {name: total / count for name, (total, count) in zip(self.sums, sums) if count}
        means["images_per_second"] = self.images / max(1e-9, time.monotonic() - self.since)
        self.open()
        return means

    def tensors(self) -> dict[str, Tensor]:
        """The open window of this process, for a checkpoint."""
        return {f"window.{i:03}.{name}": x for i, (name, x) in enumerate(self.sums.items())}

    def load_tensors(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """Take ``tensors()`` back."""
        for key, value in sorted(tensors.items()):
            if found := KEY.fullmatch(key):
                self.sums[found[1]] = value.to(device)
