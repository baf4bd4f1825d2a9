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
        self.names: list[str] = []
        self.sums: Tensor | None = None
        """Sum and count of each name, float (2, names)."""
        self.images, self.since = 0, time.monotonic()

    def add(self, numbers: dict[str, Tensor]) -> None:
        """One more value of each, scalars; one that is not finite is passed over."""
        if not numbers:
            return
        any_of_them = next(iter(numbers.values()))
        missing = torch.full((), torch.nan, device=any_of_them.device)
        self._know([name for name in numbers if name not in self.names], missing)
        assert self.sums is not None
        values = torch.stack([numbers.get(name, missing).float() for name in self.names])
        finite = values - values == 0
        self.sums += torch.stack([values.where(finite, 0.0), finite.float()])

    def _know(self, names: list[str], like: Tensor) -> None:
        """Room for further names."""
        if names:
            self.names += names
            fresh = like.new_zeros(2, len(names))
            self.sums = fresh if self.sums is None else torch.cat([self.sums, fresh], dim=1)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count against images per second."""
        start = time.monotonic()
        yield
        self.since += time.monotonic() - start

    def close(self) -> dict[str, float]:
        """Means over all processes, and images per second; starts a new window. A collective call."""
        means = {}
        if self.sums is not None:
            sums = zip(self.names, *all_reduce_sum(self.sums).tolist())
            means = {name: total / count for name, total, count in sums if count}
        means["images_per_second"] = self.images / max(1e-9, time.monotonic() - self.since)
        self.open()
        return means

    def tensors(self) -> dict[str, Tensor]:
        """The open window of this process, for a checkpoint."""
        columns = self.sums.unbind(1) if self.sums is not None else ()
        return {f"window.{i:03}.{name}": x for i, (name, x) in enumerate(zip(self.names, columns))}

    def load_tensors(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """Take ``tensors()`` back."""
        found = [(name[1], x) for key, x in sorted(tensors.items()) if (name := KEY.fullmatch(key))]
        if found:
            self.names = [name for name, _ in found]
            self.sums = torch.stack([x.to(device) for _, x in found], dim=1)
