"""Adversarial losses on the logits of a discriminator, always in float32.

Papers: Lim and Ye, "Geometric GAN" (hinge), https://arxiv.org/abs/1705.02894; Goodfellow et al. (vanilla,
non-saturating), https://arxiv.org/abs/1406.2661; Tseng et al. (LeCam), https://arxiv.org/abs/2104.03310.
LlamaGen's own "non-saturating" loss is not here: its code gives logits and labels to the cross-entropy in
swapped order, so that generated images have no gradient in the discriminator's loss, and the terms that have
one are linear and unbounded.
Shape letters: B images, h, w sides of the map of logits.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcli.nn.distributed import all_reduce_sum, rank_and_world

DiscriminatorLoss = Literal["hinge", "vanilla", "non_saturating"]
GeneratorLoss = Literal["hinge", "non_saturating"]


def discriminator_loss(kind: DiscriminatorLoss, real: Tensor, fake: Tensor) -> Tensor:
    """A scalar, low where logits (B, 1, h, w) of real images are high and those of generated ones low.

    ``hinge`` and ``vanilla`` are means over both sorts of images; ``non_saturating``, as IBQ has it, is the
    sum of vanilla's two terms, on logits averaged over each image.
    """
    real, fake = real.float(), fake.float()
    if kind == "hinge":
        return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    if kind == "vanilla":
        return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
    return F.softplus(-of_images(real)).mean() + F.softplus(of_images(fake)).mean()


def generator_loss(kind: GeneratorLoss, fake: Tensor) -> Tensor:
    """A scalar, low where logits (B, 1, h, w) of generated images are high.

    ``hinge`` is linear; ``non_saturating``, as IBQ has it, bends on logits averaged over each image.
    """
    if kind == "hinge":
        return -fake.float().mean()
    return F.softplus(-of_images(fake.float())).mean()


def of_images(logits: Tensor) -> Tensor:
    """Means (B,) over the map (B, 1, h, w)."""
    return logits.mean((1, 2, 3))


class LeCam(nn.Module):
    """Penalty on logits far beyond the running mean of the other sort's, as IBQ and Open-MAGVIT2 have it.

    The published code leaves each process its own averages and saves none; here they are over all processes
    and a buffer. Notes of passes are none of the state: ``update`` leaves none.
    """

    averages: Tensor

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("averages", torch.zeros(2))  # of real logits, of generated ones
        self.noted: list[Tensor] = []
        """Means (2,) of the passes since the last update."""

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty of logits (B, 1, h, w), a scalar, with averages that count this pass; collective."""
        real, fake = real.float(), fake.float()
        means = torch.stack([real.detach().mean(), fake.detach().mean()])
        self.noted.append(all_reduce_sum(means) / rank_and_world()[1])
        average_real, average_fake = self.moved(self.noted[-1])
        return F.relu(real - average_fake).square().mean() + F.relu(average_real - fake).square().mean()

    def update(self) -> None:
        """Move the averages, once after each optimizer step of the discriminator, whatever its passes."""
        if self.noted:
            self.averages = self.moved(torch.stack(self.noted).mean(0))
            self.noted.clear()

    def moved(self, means: Tensor) -> Tensor:
        """The averages (2,) with these means counted."""
        return self.averages.lerp(means, 1 - self.decay)
