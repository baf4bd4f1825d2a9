"""Codebook usage, counted where the tokens are: counting never waits for the device.

Shape letters: B images, L tokens an image, K codes, E entries of the grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vqcli.metrics.usage.counts import UsageCounts
from vqcli.nn.distributed import all_reduce_sum
from vqcli.types import Tokens, grid_length


class DeviceCounts:
    """``UsageCounts`` of this process, on its device."""

    def __init__(self, codebook_size: int, entries: int, device: torch.device) -> None:
        self.counts_ek = torch.zeros(entries, codebook_size, dtype=torch.int64, device=device)
        self.images = 0

    def add(self, tokens: Tokens) -> None:
        """Count a batch of tokens (B, L). Raises ValueError if their grid has another number of entries."""
        parts = tokens.ids.split([grid_length((entry,)) for entry in tokens.grid], dim=1)
        for counts_k, ids in zip(self.counts_ek, parts, strict=True):
            counts_k.scatter_add_(0, ids.flatten(), torch.ones_like(ids).flatten())
        self.images += len(tokens.ids)

    def summed(self) -> UsageCounts:
        """What all processes counted together. A collective call."""
        entries, size = self.counts_ek.shape
        total, device = UsageCounts(size, entries), self.counts_ek.device
        total.counts_ek += all_reduce_sum(self.counts_ek.clone()).cpu().numpy()
        total.images = int(all_reduce_sum(torch.tensor(self.images, device=device)))
        return total

    def tensors(self) -> dict[str, Tensor]:
        """What this process counted, for a checkpoint."""
        return {"counts": self.counts_ek, "images": torch.tensor(self.images)}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take ``tensors()`` back."""
        self.counts_ek.copy_(tensors["counts"])
        self.images = int(tensors["images"])
