"""Training a generator: predict the tokens of images from their classes.

The tokens lie in a file, or a frozen tokenizer makes them of images on the way.
Shape letters: B images, L tokens an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from vqcli import files
from vqcli.checkpoint.contents import copy_tokenizer
from vqcli.checkpoint.generator import describe_generator, read_generator, save_generator, write_classes
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.classes import readable
from vqcli.data.config import DataConfig, Side
from vqcli.data.holdout import holdout
from vqcli.data.images.base import identity
from vqcli.data.loader import Batch as ImageBatch
from vqcli.data.loader import TrainPlan
from vqcli.data.tokens.files import is_tokens
from vqcli.data.tokens.rows import TokenBatch, TokenRows, open_token_rows, token_batches, token_eval_batches
from vqcli.errors import VqcliError
from vqcli.generators.base import Generator, image_stream
from vqcli.library.references import locate
from vqcli.nn.distributed import all_reduce_sum
from vqcli.pixels import contact_sheet, normalize, to_uint8
from vqcli.quantizers.base import first_misfit
from vqcli.registry import GeneratorConfig, build
from vqcli.training.data import Data, data_of, training_images
from vqcli.training.models import Models
from vqcli.training.recipe import Recipe
from vqcli.training.task import Losses, Task
from vqcli.types import Grid, Progress, TokenizerSpec, grid_length

PICTURED = 8
"""Classes of a sample grid at most, and images of each."""


class GeneratorData(DataConfig):
    """Which images, or tokens of images; then ``size`` and ``augment`` were settled by ``vqcli encode``."""

    source: str = "demo"
    """Tokens that ``vqcli encode`` wrote, .npy or a folder; or images as for a tokenizer."""
    size: Side | tuple[Side, Side] | None = None  # type: ignore[assignment]
    """Side, or height and width, in pixels; the tokenizer's own otherwise."""

    @property
    def wanted(self) -> tuple[int, int] | None:
        """``size`` as (height, width), if it is given."""
        return self.height_width if self.size else None


class GeneratorRecipe(Recipe):
    """A recipe that trains a generator."""

    task: str = "generator"
    tokenizer: str
    """MODEL whose tokens are generated: a folder, a run, a published file, an alias, or a name on the Hub."""
    generator: GeneratorConfig
    data: GeneratorData


@dataclass(frozen=True)
class Batch:
    """Tokens int64 (B, L) and labels (B,) on the device."""

    ids: Tensor
    labels: Tensor


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
        self.classes = readable(data.classes) if data else []
        spec = spec_of(recipe, models, data.grid if data else None)
        with torch.device("meta") if empty else nullcontext():
            self.generator: Generator = build("generators", recipe.generator, spec)
        self.generator = self.generator.to_empty(device=device) if empty else self.generator.to(device)
        self.parts: dict[str, nn.Module] = {"model": self.generator}
        if device.type != "meta":
            self.folder = models.folder(recipe.tokenizer)
            self.tokenizer = load_tokenizer(self.folder, device).requires_grad_(False)

    @classmethod
    def open_data(cls, recipe: Recipe, plan: TrainPlan, models: Models) -> Data:
        assert isinstance(recipe, GeneratorRecipe)
        source, classes = recipe.data.source, recipe.generator.classes  # type: ignore[attr-defined]
        spec = models.spec(recipe.tokenizer, recipe.data.wanted)
        if is_tokens(Path(source)):
            check_settled(recipe)
            rows = open_token_rows(Path(source))
            check_same_tokenizer(recipe, rows, spec)
            check_labels(rows.labels, rows.key, classes, f"tokens {source}")
            return token_data(rows, recipe.data.holdout, plan)
        config = recipe.data.model_copy(update={"size": spec.image_size})
        images = training_images(config)
        for part, indices in (
            (images.source, images.training),
            (images.held_out_source, images.held_out),
        ):
            labels = [part.label(i) for i in indices]
            known = np.array([-1 if label is None else label for label in labels], np.int64)
            check_labels(known, lambda i, s=part, at=indices: s.key(at[i]), classes, f"images {source}")  # type: ignore[misc]
        data = data_of(images, config, plan)
        return replace(data, identity=data.identity | {"tokenizer": spec.fingerprint})

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
        theirs, ours = source.spec.fingerprint, self.generator.spec.fingerprint
        note = ", which knew the tokens of another tokenizer" if theirs and theirs != ours else ""
        progress.say(f"starting from {folder}{note}")

    def example(self, images: int) -> tuple[Tensor, ...]:
        ids = torch.zeros(images, grid_length(self.generator.grid), dtype=torch.int64, device=self.device)
        return ids, ids[:, 0]

    def load(self, loaded: ImageBatch | TokenBatch) -> Batch:
        labels = loaded.labels.to(self.device)
        if isinstance(loaded, TokenBatch):
            return Batch(loaded.ids.to(self.device), labels)
        with torch.no_grad():
            images = normalize(loaded.stacked().to(self.device))
            return Batch(self.tokenizer.encode(images).ids, labels)

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, Losses]]:
        yield "model", self.parts["model"](batch.ids, batch.labels)

    def numbers(self) -> dict[str, float]:
        return {}

    def validate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Any]:
        """Mean losses over held-out images, without dropout; perplexity is exp of the cross-entropy."""
        names = self.generator.LOSSES
        sums = torch.zeros(len(names) + 1, dtype=torch.float64)
        for batch in batches:
            losses = model(batch.ids, batch.labels)
            means = [losses[name].item() for name in names]
            sums += torch.tensor([*means, 1.0], dtype=torch.float64) * len(batch.ids)
        *totals, images = all_reduce_sum(sums.float().to(self.device)).tolist()
        if not images:
            return {}
        measured: dict[str, Any] = {name: total / images for name, total in zip(names, totals)}
        if "cross_entropy" in measured:
            measured["perplexity"] = math.exp(measured["cross_entropy"])
        return measured | {"images": int(images)}

    def picture(self, model: nn.Module, batch: Batch | None) -> Image:
        """A row of images of each of a few classes, always from the same random numbers."""
        assert isinstance(model, Generator)
        classes = model.config.classes
        rows = []
        for label in range(
            0, classes, max(1, -(-classes // PICTURED))
        ):  # a class at a time: caches are large
            streams = [image_stream(self.recipe.seed, label, index) for index in range(PICTURED)]
            labels = torch.full((PICTURED,), label, device=self.device)
            tokens = model.sample(labels, streams, model.config.sampling)
            rows.append(to_uint8(self.tokenizer.decode(tokens)))
        return contact_sheet(torch.cat(rows), columns=PICTURED)

    def describe(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, Generator)
        files.write_json(folder / "config.json", describe_generator(model))
        write_classes(folder, self.classes)

    def export(self, model: nn.Module, folder: Path, measured: dict[str, Any]) -> None:
        assert isinstance(model, Generator)
        note = ""
        if "cross_entropy" in measured:
            note = (
                f"Cross-entropy {measured['cross_entropy']:.4f} nats a token on {measured['images']:,} "
                "held-out images."
            )
        save_generator(model, folder, None, classes=self.classes, note=note)
        copy_tokenizer(self.folder, folder)


def spec_of(recipe: GeneratorRecipe, models: Models, grid: Grid | None) -> TokenizerSpec:
    """What the generator must know of its tokenizer; ``grid`` is that of tokens which are there already."""
    spec = models.spec(recipe.tokenizer, recipe.data.wanted)
    if grid is None or grid == spec.grid:
        return spec
    height, width = grid[-1]
    return replace(spec, grid=grid, image_size=(height * spec.downsample, width * spec.downsample))


def token_data(rows: TokenRows, share: float, plan: TrainPlan) -> Data:
    """Batches of tokens; ``share`` of the images is held out."""
    training, held_out = holdout(rows, share)
    return Data(
        train=partial(token_batches, rows, training, plan),
        held_out=lambda most: token_eval_batches(
            rows, held_out[:most][plan.rank :: plan.world], plan.batch_size
        ),
        images=len(training),
        identity=identity(rows.key(i) for i in training) | {"tokens": rows.digest},
        classes=rows.info.classes,
        grid=rows.grid,
    )


def check_settled(recipe: GeneratorRecipe) -> None:
    """Raises VqcliError if the recipe asks of tokens what was settled when they were made."""
    for name in ("split", "size"):
        if getattr(recipe.data, name) is not None:
            raise VqcliError(
                f"data.{name}: {recipe.data.source} are tokens, whose {name} was settled by vqcli encode",
                hint=f"leave data.{name} out, or name images",
                reason="config",
            )


def check_same_tokenizer(recipe: GeneratorRecipe, rows: TokenRows, spec: TokenizerSpec) -> None:
    """Raises VqcliError if the tokens are not those of the recipe's tokenizer."""
    theirs, wrong = rows.info, ""
    if theirs.codebook_size != spec.codebook_size:
        wrong = f"they are of {theirs.codebook_size:,} codes, it has {spec.codebook_size:,}"
    elif theirs.fingerprint and spec.fingerprint and theirs.fingerprint != spec.fingerprint:
        wrong = f"fingerprint {theirs.fingerprint[:8]}, not {spec.fingerprint[:8]}"
    if wrong:
        raise VqcliError(
            f"the tokens {recipe.data.source} are not of the tokenizer {recipe.tokenizer}: {wrong}",
            hint="--tokenizer names the one that made them",
            reason="fingerprint",
        )


def check_labels(labels: np.ndarray, key: Callable[[int], str], classes: int, what: str) -> None:
    """Raises VqcliError that names an image without a class, or of one that the generator does not have."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if not len(wrong):
        return
    first = int(wrong[0])
    if labels[first] < 0:
        raise VqcliError(
            f"{what} are not all of known classes: {key(first)} has no label",
            hint="every split needs labels: folders of classes, .cls files, a label column",
            reason="labels",
        )
    raise VqcliError(
        f"{what} have a class {labels[first]} ({key(first)}), the recipe {classes} classes",
        hint=f"--set generator.classes={int(labels.max()) + 1}",
        reason="labels",
    )
