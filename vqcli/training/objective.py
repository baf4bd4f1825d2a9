"""What a tokenizer is trained for: images that are near in pixels and features, and pass for real ones."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from vqcli.checkpoint.weights import hash_of
from vqcli.errors import VqcliError
from vqcli.library.weights import is_published
from vqcli.losses.base import ImageLoss
from vqcli.losses.perceptual import PerceptualLoss
from vqcli.nn.lpips import EPS, Lpips
from vqcli.nn.precision import autocast
from vqcli.registry import build
from vqcli.training.adversary import Adversary
from vqcli.training.alarm import Alarm
from vqcli.training.models import Models
from vqcli.training.task import Losses


class Objective:
    """The losses on images of a recipe, and its adversary if it has one."""

    def __init__(self, recipe: Any, models: Models | None, per_epoch: int, device: torch.device) -> None:
        """``models`` brings the networks that losses compare features of. Raises VqcliError without one."""
        self.precision, self.device = recipe.training.precision, device
        self.image_size = recipe.data.height_width
        self.terms: dict[str, ImageLoss] = {}
        self.other_weights: dict[str, str] = {}
        """What is wrong with LPIPS where its weights are not the published ones, by its name in a record."""
        for name, config in recipe.losses.items():
            if config.weight:
                self.terms[name] = self._term(config, models)
        self.adversary: Adversary | None = None
        self.alarm: Alarm | None = None
        if config := recipe.adversarial:
            self.adversary = Adversary(config, self.image_size, per_epoch, device)
            self.alarm = Alarm(config.discriminator_loss, config.discriminator_weight, tuple(self.terms))

    def _term(self, config: Any, models: Models | None) -> ImageLoss:
        term: ImageLoss = build("losses", config).to(self.device)
        if min(self.image_size) < term.smallest:
            height, width = self.image_size
            raise VqcliError(
                f"losses.{config.name}: images of {height}x{width} pixels are too small for {term.network}",
                hint=f"{term.smallest} pixels a side at least; --set losses.{config.name}=0 goes without",
                reason="config",
            )
        if term.network:
            assert models is not None
            term.load(models.network(term.network, config.weights))
            if isinstance(term, PerceptualLoss) and not is_published(term.network, config.weights):
                said = f"by other weights of {term.network} than the published"
                self.other_weights[f"lpips_{term.lpips.net}"] = said
        return term

    def losses(self, reconstruction: Tensor, images: Tensor, last_layer: Tensor, step: int) -> Losses:
        """The tokenizer's: those that compare images, and the adversarial one once it is heard."""
        heard = self.adversary is not None and self.adversary.factor(step) > 0
        compared = reconstruction
        if self.adversary and heard:
            compared, judged, probe = self.adversary.split(reconstruction, last_layer, step)
        with autocast(self.precision, self.device, training=True):
            losses = {name: term(compared, images) for name, term in self.terms.items()}
            if self.adversary and heard:
                losses["adversarial"] = self.adversary.against(judged, step) + probe
        return losses

    @property
    def lpips(self) -> Lpips | None:
        """The network of a perceptual loss, to measure with: as LPIPS is defined, whatever the loss's eps."""
        networks = (term.lpips for term in self.terms.values() if isinstance(term, PerceptualLoss))
        network = copy.copy(next(networks, None))
        if network:
            network.eps = EPS
        return network

    def identity(self) -> dict[str, str]:
        """Hashes of the networks that features come from, by name."""
        return {term.network: hash_of(term.state_dict()) for term in self.terms.values() if term.network}

    def tensors(self) -> dict[str, Tensor]:
        """What a resumed run needs beside the parts: LeCam's averages, and what the alarm has read."""
        if not (self.adversary and self.alarm):
            return {}
        return self.adversary.lecam.state_dict(prefix="lecam.") | {"alarm": self.alarm.state()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take ``tensors()`` back."""
        if self.adversary and self.alarm and "alarm" in tensors:
            own = {k.removeprefix("lecam."): x for k, x in tensors.items() if k.startswith("lecam.")}
            self.adversary.lecam.load_state_dict(own)
            self.alarm.load_state(tensors["alarm"])
