"""A generator of latents: a straight flow from noise to them. B images, D width, h, w sides of latents."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vqcli.config import PartConfig
from vqcli.generators.base import Generator, Streams
from vqcli.types import Latents, Made, Progress, TokenizerSpec, silent


class FlowSampling(PartConfig):
    """Options of following the flow."""

    steps: int = Field(8, ge=1)
    """Euler steps."""


class StraightFlow(Generator):
    """A flow from noise to latents of a class: two convolutions."""

    class Config(PartConfig):
        """Options of the straight flow."""

        name: Literal["straight"] = "straight"
        classes: int = Field(10, ge=1)
        channels: int = Field(32, ge=1)
        """Between the convolutions."""
        sampling: FlowSampling = FlowSampling()
        """Defaults of ``vqcli generate``."""

    TINY: ClassVar[dict[str, Any]] = {"classes": 4, "channels": 16}
    makes = "latents"
    UNIT = "steps"
    LOSSES = ("velocity",)

    def __init__(self, config: Config, spec: TokenizerSpec) -> None:
        super().__init__(config, spec)
        self.stem = nn.Conv2d(spec.width, config.channels, 3, padding=1)
        self.label, self.time = nn.Embedding(config.classes, config.channels), nn.Linear(1, config.channels)
        self.head = nn.Conv2d(config.channels, spec.width, 3, padding=1)

    def velocity(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Of noisy latents (B, D, h, w) at times (B,) from 0, noise, to 1."""
        condition = self.label(labels) + self.time(t[:, None])
        return self.head(F.silu(self.stem(x) + condition[:, :, None, None]))

    def forward(self, made: Made, labels: Tensor) -> dict[str, Tensor]:
        assert isinstance(made, Latents)
        noise, t = torch.randn_like(made.values), torch.rand(len(labels), device=labels.device)
        x = torch.lerp(noise, made.values, t[:, None, None, None])
        return {"velocity": F.mse_loss(self.velocity(x, t, labels), made.values - noise)}

    def compile_step(self) -> None:
        self.velocity = torch.compile(self.velocity)  # type: ignore[method-assign]

    def effort(self, sampling: PartConfig) -> int:
        assert isinstance(sampling, FlowSampling)
        return sampling.steps

    @torch.inference_mode()
    def sample(
        self, labels: Tensor, streams: Streams, sampling: PartConfig, progress: Progress = silent
    ) -> Made:
        steps, shape = self.effort(sampling), (self.spec.width, *self.grid[-1])
        noise = np.stack([stream.standard_normal(shape, dtype=np.float32) for stream in streams])
        x = torch.from_numpy(noise).to(self.head.weight)
        for step in range(steps):
            t = x.new_full((len(x),), step / steps)
            x = x + self.velocity(x, t, labels) / steps
            progress.advance(len(x))
        return Latents(x.float(), self.spec.latents)
