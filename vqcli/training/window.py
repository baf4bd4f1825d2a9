"""Means of what is logged, over the steps since the last line."""

from __future__ import annotations

import time

import torch
from torch import Tensor


class Window:
    """Running sums of what is logged, since the last line; kept on the device so that adding never waits."""

    def __init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Forget what was added and start the clock."""
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.images, self.since = 0, time.monotonic()

    def add(self, numbers: dict[str, Tensor]) -> None:
        """One more value of each."""
        for name, value in numbers.items():
            value = value.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def close(self) -> dict[str, float]:
        """The means, and images per second; starts a new window."""
        means = {name: (x / self.counts[name]).item() for name, x in self.sums.items()}
        means["images_per_second"] = self.images / max(1e-9, time.monotonic() - self.since)
        self.open()
        return means

    def tensors(self) -> dict[str, Tensor]:
        """The open window, for a checkpoint."""
        return {
            f"window.{name}": torch.stack([x, x.new_tensor(self.counts[name])])
            for name, x in self.sums.items()
        }

    def load_tensors(self, tensors: dict[str, Tensor], device: torch.device) -> None:
        """Take ``tensors()`` back."""
        for key, value in tensors.items():
            if key.startswith("window."):
                name = key.removeprefix("window.")
                self.sums[name], self.counts[name] = value[0].to(device), int(value[1])
