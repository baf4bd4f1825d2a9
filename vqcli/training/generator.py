"""Training a generator: learn the tokens, or the latents, of images from their classes.

Shape letters: B images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL.Image import Image
from torch import Tensor, nn

from vqcli import files
from vqcli.checkpoint.classes import write_classes
from vqcli.checkpoint.contents import copy_tokenizer
from vqcli.checkpoint.generator import (
    describe_generator,
    read_generator,
    save_generator,
)
from vqcli.generators.base import Generator, image_stream
from vqcli.nn.distributed import all_reduce_sum
from vqcli.pixels import contact_sheet, to_uint8
from vqcli.registry import GeneratorConfig
from vqcli.training.data import Data
from vqcli.training.on_tokens import Batch, OnTokensRecipe, OnTokensTask
from vqcli.training.recipe import Recipe
from vqcli.training.standard import measure_standard
from vqcli.training.task import Losses
from vqcli.types import Progress, Standard, TokenizerSpec, Tokens

MEASURED = 4096
"""Training images at most over which mean and deviation of latents are measured, in whole batches: the
first that training takes; one batch where that has more."""
PICTURED = 8
"""Classes of a sample grid at most, and images of each."""


class GeneratorRecipe(OnTokensRecipe):
    """A recipe that trains a generator."""

    task: str = "generator"
    generator: GeneratorConfig


class GeneratorTask(OnTokensTask):
    """Trains ``recipe.generator``."""

    Config: ClassVar[type[Recipe]] = GeneratorRecipe
    SHARDS: ClassVar[bool] = True
    SECTION: ClassVar[str] = "generator"

    @property
    def generator(self) -> Generator:
        """The network."""
        found: Generator = self.network
        return found

    @classmethod
    def read(cls, folder: Path) -> Generator:
        return read_generator(folder)

    def take(self, spec: TokenizerSpec) -> None:
        if spec.latents:
            self.standardize(spec.latents)

    def begin(self, data: Data, progress: Progress) -> None:
        """Measure how latents are to be standardized, unless a model to start from tells it."""
        if self.generator.makes == "latents" and not self.recipe.init:
            training = self.recipe.training
            passes = max(1, min(MEASURED, data.images) // training.batch_size) * training.accumulate
            progress.start("measure latents", passes, "batches")
            batches = (self.load(loaded).made for loaded in islice(data.train(0), passes) if len(loaded))
            self.standardize(measure_standard(batches, self.generator.spec.width, self.device, progress))

    def standardize(self, standard: Standard) -> None:
        """Let the generator see latents standardized in this way from now on."""
        self.generator.spec = replace(self.generator.spec, latents=standard)

    @property
    def standard(self) -> Standard | None:
        """How latents are standardized; None where they are not, or not yet."""
        return self.generator.spec.latents

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, Losses]]:
        self.generator.begin_step(step)
        yield from super().losses(batch, step)

    def tensors(self) -> dict[str, Tensor]:
        standard = self.standard
        return {} if standard is None else {"latents": torch.tensor([standard.mean, standard.std])}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        if "latents" in tensors:
            mean, std = tensors["latents"].tolist()
            self.standardize(Standard(tuple(mean), tuple(std)))

    def validate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Any]:
        """Mean losses over held-out images, without dropout; perplexity is exp of the cross-entropy."""
        model, names = self.informed(model), self.generator.LOSSES
        sums = torch.zeros(len(names) + 1, dtype=torch.float64)
        for batch in batches:
            losses = model(batch.made, batch.labels)
            means = [losses[name].item() for name in names]
            sums += torch.tensor([*means, 1.0], dtype=torch.float64) * len(batch.labels)
        *totals, images = all_reduce_sum(sums.float().to(self.device)).tolist()
        if not images:
            return {}
        measured: dict[str, Any] = {name: total / images for name, total in zip(names, totals)}
        if "cross_entropy" in measured:
            measured["perplexity"] = math.exp(measured["cross_entropy"])
        return measured | {"images": int(images)}

    @classmethod
    def summary(cls, measured: dict[str, Any]) -> list[str]:
        if not measured:
            return []
        also = f", perplexity {measured['perplexity']:.1f}" if "perplexity" in measured else ""
        return [f"{told(measured)}{also}, over {measured['images']:,} held-out images"]

    def picture(self, model: nn.Module, batch: Batch | None) -> Image:
        """A row of images of each of a few classes, always from the same random numbers.

        Above them the first, step by step, where its tokens have several: from coarse to fine.
        """
        model = self.informed(model)
        classes = model.config.classes
        rows = []
        for label in range(0, classes, max(1, -(-classes // PICTURED))):  # one at a time: caches are large
            streams = [image_stream(self.recipe.seed, label, index) for index in range(PICTURED)]
            labels = torch.full((PICTURED,), label, device=self.device)
            made = model.sample(labels, streams, model.config.sampling)
            rows.append(to_uint8(self.tokenizer.render(made)))
            if not label and isinstance(made, Tokens) and len(made.grid) > 1:
                rows.insert(0, self.steps_of(made))
        return contact_sheet(torch.cat(rows), columns=PICTURED)

    def steps_of(self, made: Tokens) -> Tensor:
        """The first image after some of its steps, the last too: a row of uint8 images, white at its end."""
        first = Tokens(made.ids[:1], made.grid)
        every = torch.cat([to_uint8(image) for image in self.tokenizer.coarse_to_fine(first)])
        shown = every[torch.linspace(0, len(every) - 1, min(PICTURED, len(every))).round().long()]
        return torch.cat([shown, shown.new_full((PICTURED - len(shown), *shown.shape[1:]), 255)])

    def informed(self, model: nn.Module) -> Generator:
        """The generator, or its running average, which was copied before latents were measured."""
        assert isinstance(model, Generator)
        model.spec = self.generator.spec
        return model

    def describe(self, model: nn.Module, folder: Path) -> None:
        model = self.informed(model)
        files.write_json(folder / "config.json", describe_generator(model))
        write_classes(folder, self.classes.names)

    def export(self, model: nn.Module, folder: Path, measured: dict[str, Any]) -> None:
        model = self.informed(model)
        note = ""
        if measured:
            words = told(measured)
            note = f"{words[0].upper()}{words[1:]} on {measured['images']:,} held-out images."
        save_generator(model, folder, None, classes=self.classes.names, note=note)
        copy_tokenizer(self.folder, folder)


def told(measured: dict[str, Any]) -> str:
    """Losses on held-out images: ``cross-entropy 5.2134 nats a token``, others by their names."""
    if "cross_entropy" in measured:
        return f"cross-entropy {measured['cross_entropy']:.4f} nats a token"
    losses = {name: value for name, value in measured.items() if name != "images"}
    return ", ".join(f"{name.replace('_', '-')} {value:.4f}" for name, value in losses.items())
