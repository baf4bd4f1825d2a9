"""Activation normalization: a trained shift and scale of each channel, set by the first batch.

Paper: Kingma and Dhariwal, "Glow", https://arxiv.org/abs/1807.03039, section 3.1; names as in VQGAN's code.
Shape letters: B images, C channels, H, W sides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vqcli.nn.distributed import all_reduce_sum

EPS = 1e-6


class ActNorm(nn.Module):
    """(B, C, H, W) -> scale * (x + loc). The first batch in training, of all processes, has mean 0, std 1."""

    initialized: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.register_buffer("initialized", torch.tensor(0, dtype=torch.uint8))
        self.waits: bool | None = None
        """Whether the first batch is still to come; None until the first pass asks ``initialized``."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not x.is_meta and self.waits is not False:
            if self.waits is None:  # asked once: looking at a tensor holds up a GPU
                self.waits = not self.initialized.item()
            if self.waits:
                self.start(x)
        return self.scale * (x + self.loc)

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Set shift and scale by a batch; a collective call."""
        x = x.float()
        count = all_reduce_sum(torch.tensor(float(x[:, 0].numel()), device=x.device))
        mean = all_reduce_sum(x.sum((0, 2, 3), keepdim=True)) / count
        squares = all_reduce_sum((x - mean).square().sum((0, 2, 3), keepdim=True))
        self.loc.copy_(-mean)
        self.scale.copy_(1 / ((squares / (count - 1)).sqrt() + EPS))
        self.initialized.fill_(1)
        self.waits = False
