"""Training a generator: learn the tokens, or the latents, of images from their classes.

They lie in a file, or a frozen tokenizer makes them of images on the way.
Shape letters: B images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL.Image import Image
from torch import Tensor, nn

from vqcli import files
from vqcli.checkpoint.classes import read_classes, write_classes
from vqcli.checkpoint.contents import copy_tokenizer
from vqcli.checkpoint.generator import (
    describe_generator,
    read_generator,
    save_generator,
)
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.loader import Batch as ImageBatch
from vqcli.data.loader import TrainPlan
from vqcli.data.tokens.latents import LatentBatch
from vqcli.data.tokens.rows import RowBatch, TokenBatch
from vqcli.errors import VqcliError
from vqcli.generators.base import Generator, image_stream
from vqcli.library.references import locate
from vqcli.nn.distributed import all_reduce_sum
from vqcli.nn.meta import built
from vqcli.nn.precision import asking_later, autocast
from vqcli.pixels import contact_sheet, fetched, on_device, to_uint8
from vqcli.quantizers.words import first_misfit
from vqcli.registry import GeneratorConfig, build, resolve
from vqcli.training.classes import ClassList
from vqcli.training.data import Data
from vqcli.training.labelled import LabelledData, Wanted, check_there, labelled_data
from vqcli.training.models import Models
from vqcli.training.recipe import Recipe
from vqcli.training.shapes import Shapes
from vqcli.training.standard import measure_standard
from vqcli.training.task import Losses, Task
from vqcli.types import Grid, Latents, Made, Progress, Standard, TokenizerSpec, Tokens, grid_length

MEASURED = 4096
"""Training images at most over which mean and deviation of latents are measured, in whole batches: the
first that training takes; one batch where that has more."""
PICTURED = 8
"""Classes of a sample grid at most, and images of each."""


class GeneratorRecipe(Recipe):
    """A recipe that trains a generator."""

    task: str = "generator"
    tokenizer: str
    """MODEL whose tokens or latents are generated: a folder, a run, a published file, an alias, or a name on
    the Hub."""
    generator: GeneratorConfig
    data: LabelledData


@dataclass(frozen=True)
class Batch:
    """What the generator is to make, with labels (B,), on the device."""

    made: Made
    labels: Tensor
    sums: tuple[Tensor, ...] = ()
    """Of what the tokenizer made, where nobody has asked yet whether it is finite."""


class GeneratorTask(Task):
    """Trains ``recipe.generator``; one part, ``model``. The tokenizer stands beside it, frozen."""

    Config: ClassVar[type[Recipe]] = GeneratorRecipe
    SHARDS: ClassVar[bool] = True

    def __init__(
        self,
        recipe: GeneratorRecipe,
        device: torch.device,
        *,
        models: Models,
        data: Data | None = None,
        empty: bool = False,
    ) -> None:
        self.recipe, self.device = recipe, device
        self.classes = ClassList(data.classes if data else ())
        spec = spec_of(recipe, models, data.grid if data else None)
        self.generator: Generator = built(
            lambda: build("generators", recipe.generator, spec), device, empty=empty
        )
        self.parts: dict[str, nn.Module] = {"model": self.generator}
        if device.type != "meta":
            self.folder = models.folder(recipe.tokenizer)
            self.tokenizer = load_tokenizer(self.folder, device).requires_grad_(False)
            self.generator.attach(self.tokenizer)
        else:
            self.generator.attach(Shapes(self.generator.spec))

    @classmethod
    def open_data(cls, recipe: Recipe, plan: TrainPlan, models: Models) -> Data:
        assert isinstance(recipe, GeneratorRecipe)
        check_there(recipe.data.source)  # before a tokenizer is fetched
        spec = models.spec(recipe.tokenizer, recipe.data.wanted)
        generator: Any = recipe.generator
        makes = resolve("generators", generator.name).makes
        wanted = Wanted(recipe.tokenizer, spec, generator.classes, makes)
        return labelled_data(recipe.data, wanted, plan)

    def start_from(self, model: str, progress: Progress) -> None:
        folder = locate(model, unbaked=True)
        source = read_generator(folder)
        misfit = first_misfit(source.state_dict(), self.generator.state_dict())
        if misfit:
            raise VqcliError(
                f"{folder} does not fit the recipe: {misfit}",
                hint=f"give the recipe the model's network: vqcli info {folder} --json",
                reason="config",
            )
        self.generator.load_state_dict(source.state_dict())
        self._follow(folder, progress)
        if source.spec.latents:
            self.standardize(source.spec.latents)
        theirs, ours = source.spec.fingerprint, self.generator.spec.fingerprint
        note = ", which knew the tokens of another tokenizer" if theirs and theirs != ours else ""
        progress.say(f"starting from {folder}{note}")

    def recall(self, folder: Path, progress: Progress) -> None:
        self._follow(folder, progress)

    def _follow(self, folder: Path, progress: Progress) -> None:
        sentence = self.classes.follow(read_classes(folder), folder)
        if sentence:
            progress.say(sentence)

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

    def example(self, images: int) -> tuple[Any, ...]:
        labels = torch.zeros(images, dtype=torch.int64, device=self.device)
        return self.generator.blank(images, self.device), labels

    def load(self, loaded: ImageBatch | RowBatch) -> Batch:
        labels = fetched(self.classes.number(loaded.labels), self.device)
        with torch.no_grad(), autocast("fp32", self.device), asking_later(self.device) as sums:
            made = self.represent(loaded)
        made = made if isinstance(made, Tokens) else made.standardized(self.standard)
        return Batch(made, labels, tuple(sums))

    def represent(self, loaded: ImageBatch | RowBatch) -> Made:
        """What the generator sees of a batch; the latents of tokens are their codes."""
        makes = self.generator.makes
        if isinstance(loaded, ImageBatch):
            return self.tokenizer.represent(on_device(loaded.stacked(), self.device), makes)
        if isinstance(loaded, LatentBatch):
            return Latents(fetched(loaded.values, self.device))
        assert isinstance(loaded, TokenBatch)
        tokens = Tokens(fetched(loaded.ids, self.device), self.generator.grid)
        return tokens if makes == "tokens" else Latents(self.tokenizer.quantizer.lookup(tokens))

    @property
    def standard(self) -> Standard | None:
        """How latents are standardized; None where they are not, or not yet."""
        return self.generator.spec.latents

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, Losses]]:
        self.generator.begin_step(step)
        losses = self.parts["model"](batch.made, batch.labels)
        for x in batch.sums:  # the loop refuses what is not finite
            losses = {name: loss + 0 * x for name, loss in losses.items()}
        yield "model", losses

    def tensors(self) -> dict[str, Tensor]:
        standard = self.standard
        return {} if standard is None else {"latents": torch.tensor([standard.mean, standard.std])}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        if "latents" in tensors:
            mean, std = tensors["latents"].tolist()
            self.standardize(Standard(tuple(mean), tuple(std)))

    def numbers(self) -> dict[str, float]:
        return {}

    def outline(self) -> str:
        spec, makes = self.generator.spec, self.generator.makes
        sides = "x".join(map(str, self.generator.grid[-1]))
        if makes == "tokens":
            each = f"{grid_length(self.generator.grid):,} an image, of {spec.codebook_size:,} codes"
        else:
            each = f"none: latents of {sides} an image"
        return f"{each}, as {self.recipe.tokenizer} makes them"  # type: ignore[attr-defined]

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


def spec_of(recipe: GeneratorRecipe, models: Models, grid: Grid | None) -> TokenizerSpec:
    """What the generator must know of its tokenizer; ``grid`` is that of tokens which are there already."""
    spec = models.spec(recipe.tokenizer, recipe.data.wanted)
    if grid is None or grid == spec.grid:
        return spec
    height, width = grid[-1]
    return replace(spec, grid=grid, image_size=(height * spec.downsample, width * spec.downsample))
