"""Generators of other kinds than the registered ones, as small as they can be: a flow, and the next scale."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vqcli.config import PartConfig
from vqcli.generators.base import Generator
from vqcli.types import Latents, Tokens, silent


class FlowSampling(PartConfig):
    """Options of following a flow."""

    cfg: float = Field(1.0, ge=0)
    """Scale of guidance."""
    steps: int = Field(4, ge=1)
    """Euler steps."""


class ToyFlow(Generator):
    """A flow from noise to latents: two convolutions."""

    class Config(PartConfig):
        """Options of the toy flow."""

        name: Literal["toy_flow"] = "toy_flow"
        classes: int = Field(10, ge=1)
        channels: int = Field(32, ge=1)
        """Between the convolutions."""
        class_dropout: float = Field(0.1, ge=0, le=1)
        """Share of training images whose class is hidden."""
        sampling: FlowSampling = FlowSampling()
        """Defaults of ``vqcli generate``."""

    TINY: ClassVar[dict[str, Any]] = {"classes": 4, "channels": 16}
    makes = "latents"
    UNIT = "steps"
    LOSSES = ("velocity",)

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.null_class = config.classes
        self.stem = nn.Conv2d(spec.width, config.channels, 3, padding=1)
        self.embedding = nn.Embedding(config.classes + 1, config.channels)
        self.time = nn.Linear(1, config.channels)
        self.head = nn.Conv2d(config.channels, spec.width, 3, padding=1)

    def velocity(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        condition = self.embedding(labels) + self.time(t[:, None])
        return self.head(F.silu(self.stem(x) + condition[:, :, None, None]))

    def forward(self, made, labels):
        assert made.standard == self.spec.latents
        z = made.values
        if self.training:
            hidden = torch.rand(labels.shape, device=labels.device) < self.config.class_dropout
            labels = labels.masked_fill(hidden, self.config.classes)
        t, noise = torch.rand(len(z), device=z.device), torch.randn_like(z)
        x = torch.lerp(noise, z, t[:, None, None, None])
        return {"velocity": F.mse_loss(self.velocity(x, t, labels), z - noise)}

    def compile_step(self):
        self.velocity = torch.compile(self.velocity)

    def effort(self, sampling):
        return sampling.steps

    @torch.inference_mode()
    def sample(self, labels, streams, sampling, progress=silent):
        shape = (self.spec.width, *self.grid[-1])
        noise = np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams])
        x = torch.from_numpy(noise).to(self.head.weight)
        none = torch.full_like(labels, self.config.classes)
        for step in range(sampling.steps):
            t = x.new_full((len(x),), step / sampling.steps)
            v = self.velocity(x, t, labels)
            if sampling.cfg > 1:
                without = self.velocity(x, t, none)
                v = without + sampling.cfg * (v - without)
            x = x + v / sampling.steps
            progress.advance(len(x))
        return Latents(x.float(), self.spec.latents)


class ScaleSampling(PartConfig):
    """Options of drawing scale by scale."""

    temperature: float = Field(1.0, gt=0)
    """What logits are divided by."""


class ToyScales(Generator):
    """The next scale from the sum of the scales so far, a linear map: what VAR does without its network."""

    class Config(PartConfig):
        """Options of the toy of scales."""

        name: Literal["toy_scales"] = "toy_scales"
        classes: int = Field(10, ge=1)
        sampling: ScaleSampling = ScaleSampling()
        """Defaults of ``vqcli generate``."""

    TINY: ClassVar[dict[str, Any]] = {"classes": 4}
    makes = "tokens"
    NEEDS = ("codes",)
    LOSSES = ("cross_entropy",)

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.start = nn.Embedding(config.classes, spec.width)
        self.head = nn.Linear(spec.width, spec.codebook_size)

    def logits(self, total: Tensor, step: int, labels: Tensor) -> Tensor:
        """Of a step's tokens (B, n, K), given the sum (B, D, h, w) of the steps before."""
        seen = self.code_steps.seen(total, self.grid[step]).flatten(2).mT
        return self.head((seen + self.start(labels)[:, None]).to(self.head.weight)).float()

    def forward(self, made, labels):
        counts = [h * w for h, w in self.grid]
        total = torch.zeros(len(labels), self.spec.width, *self.grid[-1], device=labels.device)
        logits = []
        for step, ids in enumerate(made.ids.split(counts, dim=1)):
            logits.append(self.logits(total, step, labels))
            total = total + self.code_steps.part(ids, step, self.grid)
        return {"cross_entropy": F.cross_entropy(torch.cat(logits, 1).flatten(0, 1), made.ids.flatten())}

    def compile_step(self):
        self.logits = torch.compile(self.logits)

    @torch.inference_mode()
    def sample(self, labels, streams, sampling, progress=silent):
        total = torch.zeros(len(labels), self.spec.width, *self.grid[-1], device=labels.device)
        made = []
        for step, (h, w) in enumerate(self.grid):
            numbers = np.stack([stream.gumbel(size=(h * w, self.spec.codebook_size)) for stream in streams])
            noise = torch.from_numpy(numbers).to(labels.device)
            ids = (self.logits(total, step, labels) / sampling.temperature + noise).argmax(-1)
            total = total + self.code_steps.part(ids, step, self.grid)
            made.append(ids)
            progress.advance(ids.numel())
        return Tokens(torch.cat(made, dim=1), self.grid)


TOYS = {"toy_flow": "tests.generators.toys:ToyFlow", "toy_scales": "tests.generators.toys:ToyScales"}
