"""The discriminator that a tokenizer is trained against: when it plays, and how much it counts.

Paper: Esser et al., "Taming Transformers", https://arxiv.org/abs/2012.09841, section 3.1. Steps count from 1
here, as in ``metrics.jsonl``: the discriminator trains from ``disc_start``; ``disc_warmup`` steps later the
tokenizer hears of it, at first softly, fully after ``ramp`` more steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import Field
from torch import Tensor, nn

from vqcli.config import PartConfig
from vqcli.discriminators.base import Discriminator
from vqcli.errors import VqcliError
from vqcli.losses.adversarial import (
    DiscriminatorLoss,
    GeneratorLoss,
    LeCam,
    discriminator_loss,
    generator_loss,
)
from vqcli.nn.balance import balanced
from vqcli.nn.estimators import replace_value
from vqcli.registry import DiscriminatorConfig, build
from vqcli.training.recipe import Duration, OptimizerConfig, ScheduleConfig, steps_in


class AdversarialConfig(PartConfig):
    """A discriminator and its game with the tokenizer."""

    discriminator: DiscriminatorConfig = Field({"name": "patchgan"}, validate_default=True)
    """The network that tells images from reconstructions: ``vqcli list discriminators``."""
    weight: float = Field(0.5, gt=0)
    """Factor of the tokenizer's adversarial loss; with ``adaptive`` also of the adaptive weight."""
    adaptive: bool = False
    """Scale the adversarial loss so that its gradient at the decoder's last layer is as long as that of the
    other losses on images (VQGAN)."""
    generator_loss: GeneratorLoss = "hinge"
    """What the tokenizer wants of logits: ``hinge``, high; ``non_saturating``, to be taken for an image."""
    discriminator_loss: DiscriminatorLoss = "hinge"
    """What the discriminator itself is trained with."""
    discriminator_weight: float = Field(1.0, gt=0)
    """Factor of that loss. Adam ignores it, but not LeCam's penalty, clipping and weight decay beside it."""
    lecam: float = Field(0.0, ge=0)
    """Factor of LeCam's penalty on logits that leave their running means."""
    disc_start: Duration = 0
    """Step from which on the discriminator is trained."""
    disc_warmup: Duration = 0
    """Steps that it trains alone, before the tokenizer gets its loss."""
    ramp: Duration = 1000
    """Steps over which the tokenizer's adversarial loss then grows to its weight; 0 has it at once."""
    optimizer: OptimizerConfig | None = None
    """The discriminator's: what is not given is the tokenizer's. ``lr`` is meant as it stands, for any batch,
    unless ``lr_batch`` is given too."""
    schedule: ScheduleConfig | None = None
    """The same of the schedule."""


class Adversary:
    """A discriminator and its losses, over the steps of a run."""

    def __init__(
        self, config: AdversarialConfig, size: tuple[int, int], per_epoch: int, device: torch.device
    ) -> None:
        """For images of ``size`` (height, width). Raises VqcliError if the discriminator takes none such."""
        self.config = config
        self.discriminator: Discriminator = build("discriminators", config.discriminator, size).to(device)
        self.lecam = LeCam().to(device)
        self.first = max(1, steps_in(config.disc_start, per_epoch))
        self.heard = self.first + steps_in(config.disc_warmup, per_epoch)
        self.ramp = max(1, steps_in(config.ramp, per_epoch))
        self.seen: dict[str, Tensor] = {}

    def check_hears(self, last_layer: Tensor) -> None:
        """Raises VqcliError if an adaptive weight has no layer to compare gradients at."""
        if self.config.adaptive and not last_layer.requires_grad:
            raise VqcliError(
                "adversarial.adaptive compares gradients at the decoder's last layer, which freeze holds",
                hint="set adversarial.adaptive to false, or leave the decoder out of freeze",
                reason="config",
            )

    def plays(self, step: int) -> bool:
        """Whether the discriminator is trained in a step (from 0)."""
        return step + 1 >= self.first

    def factor(self, step: int) -> float:
        """How much of the tokenizer's adversarial loss counts in a step (from 0), weight included."""
        return self.config.weight * min(1.0, max(0, step + 2 - self.heard) / self.ramp)

    def split(self, images: Tensor, last_layer: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor | float]:
        """Reconstructions for the other losses and for ``against``, and what to add to the losses.

        With ``adaptive`` their gradients are balanced where they meet again.
        """
        if not self.config.adaptive:
            return images, images, 0.0
        return balanced(images, last_layer, self.factor(step), self._note_weight)

    def _note_weight(self, weight: Tensor) -> None:
        self.seen["adaptive_weight"] = weight

    def against(self, reconstruction: Tensor, step: int) -> Tensor:
        """The tokenizer's adversarial loss; no gradient reaches the discriminator.

        With ``adaptive`` its gradient is that of the plain loss, for ``split`` to weigh, and the value lacks
        the adaptive weight alone: that is only known when gradients are.
        """
        with standing_still(self.discriminator):
            loss = generator_loss(self.config.generator_loss, self.discriminator(reconstruction))
        if self.config.adaptive:
            return replace_value(self.factor(step) * loss.detach(), loss)
        return self.factor(step) * loss

    def losses(self, judge: nn.Module, reconstruction: Tensor, images: Tensor) -> dict[str, Tensor]:
        """The discriminator's own losses, called through ``judge``, which several processes share."""
        real, fake = judge(images).float(), judge(reconstruction.detach()).float()
        self.seen |= {"discriminator/real": real.detach().mean(), "discriminator/fake": fake.detach().mean()}
        config = self.config
        loss = discriminator_loss(config.discriminator_loss, real, fake)
        losses = {"loss": config.discriminator_weight * loss}
        if config.lecam:
            losses["lecam"] = config.lecam * self.lecam(real, fake)
        return losses

    def observed(self) -> dict[str, Tensor]:
        """What the last pass showed beside losses: mean logits, and the adaptive weight."""
        seen, self.seen = self.seen, {}
        return seen


@contextmanager
def standing_still(module: nn.Module) -> Iterator[None]:
    """Inside, what is computed by the module leaves no gradients in it."""
    trained = [p for p in module.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
