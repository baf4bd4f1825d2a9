"""Training a tokenizer: reconstruct images, keep latents and codes together, use every code.

Shape letters: B images, K codes, L tokens an image.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL.Image import Image
from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli import files
from vqcli.checkpoint.card import quality_lines
from vqcli.checkpoint.tokenizer import describe_tokenizer, save_tokenizer
from vqcli.codebooks.base import Restarted
from vqcli.config import PartConfig, merged
from vqcli.data.loader import Batch as ImageBatch
from vqcli.data.loader import TrainPlan
from vqcli.errors import VqcliError
from vqcli.nn.meta import built
from vqcli.pixels import contact_sheet, fetched, on_device, to_uint8
from vqcli.registry import LossesConfig, TokenizerConfig, build
from vqcli.tokenizers.base import Tokenizer
from vqcli.training.adversary import AdversarialConfig
from vqcli.training.data import Data, image_data
from vqcli.training.initial import freeze, start_from
from vqcli.training.models import Models
from vqcli.training.objective import Objective
from vqcli.training.recipe import OptimizerConfig, Recipe, ScheduleConfig
from vqcli.training.scores import (
    PROTOCOL,
    count_further,
    in_words,
    missing_images,
    score,
    usage_record,
)
from vqcli.training.task import Losses, Task
from vqcli.training.usage import DeviceCounts
from vqcli.training.watch import UsageWatch
from vqcli.training.words import tokens_in_words
from vqcli.types import Progress, grid_length

PICTURED = 8
"""Images of a grid at most."""


class TokenizerRecipe(Recipe):
    """A recipe that trains a tokenizer."""

    task: str = "tokenizer"
    tokenizer: TokenizerConfig
    losses: LossesConfig = Field(min_length=1)
    """Losses on images and their reconstructions by name, each with its weight or its options; 0 leaves one
    out. The quantizer adds its own."""
    adversarial: AdversarialConfig | None = None
    """A discriminator that images are trained against; null for none."""
    freeze: tuple[str, ...] = ()
    """Parts of the tokenizer that stand still, such as ``encoder`` or ``quantizer.codebook``."""

    @model_validator(mode="before")
    @classmethod
    def discriminator_inherits(cls, data: Any) -> Any:
        """Optimizer and schedule of the discriminator say only what differs from the tokenizer's."""
        own = data.get("adversarial")
        if not isinstance(own, dict):
            return data
        laid = {}
        for key in ("optimizer", "schedule"):
            theirs, given = data.get(key, {}), own.get(key)
            theirs = theirs.model_dump() if isinstance(theirs, PartConfig) else theirs
            if isinstance(theirs, dict) and isinstance(given, dict):
                absolute = {"lr_batch": None} if "lr" in given and "lr_batch" not in given else {}
                laid[key] = merged(theirs, absolute | given)
        return data | {"adversarial": own | laid}

    @model_validator(mode="after")
    def losses_count(self) -> TokenizerRecipe:
        """Something is left to learn from."""
        if not any(getattr(config, "weight", 1) for config in self.losses.values()):
            raise ValueError("losses: all weights are 0")
        return self

    @model_validator(mode="after")
    def adversary_fits(self) -> TokenizerRecipe:
        """One scale of fp16 gradients does not serve two parts over several passes."""
        training = self.training
        if self.adversarial and training.precision == "fp16" and training.accumulate > 1:
            raise ValueError("adversarial does not go with fp16 and accumulate, choose precision: bf16")
        if self.adversarial and self.adversarial.adaptive and training.compile:
            raise ValueError("adversarial.adaptive does not go with training.compile: set one to false")
        return self


class Batch:
    """Images (B, 3, H, W) in [-1, 1] and labels (B,), -1 where unknown, on the device."""

    __slots__ = ("images", "labels")

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels


class TokenizerTask(Task):
    """Trains ``recipe.tokenizer``; one part, ``model``."""

    Config: ClassVar[type[Recipe]] = TokenizerRecipe

    def __init__(
        self,
        recipe: TokenizerRecipe,
        device: torch.device,
        *,
        models: Models | None = None,
        data: Data | None = None,
        empty: bool = False,
    ) -> None:
        self.recipe = recipe
        self.tokenizer: Tokenizer = built(lambda: build("tokenizers", recipe.tokenizer), device, empty=empty)
        freeze(self.tokenizer, recipe.freeze)
        self.tokenizer.image_size = recipe.data.height_width
        try:
            grid = self.tokenizer.grid(*recipe.data.height_width)
        except ValueError as e:
            raise VqcliError(f"data.size: {e}", hint="choose another --size", reason="config") from e
        self.parts: dict[str, nn.Module] = {"model": self.tokenizer}
        self.device, self.entries = device, len(grid)
        per_epoch = max(1, data.images // recipe.training.batch_size) if data else 1
        self.objective = Objective(recipe, models, per_epoch, device)
        self.adversary = self.objective.adversary
        if self.adversary:
            self.parts["discriminator"] = self.adversary.discriminator
            self.adversary.check_hears(self.tokenizer.last_layer)
        self.usage, self.watch = self.nothing_counted(), UsageWatch(self.tokenizer.spec.codebook_size)
        self.validated: DeviceCounts | None = None
        """Counts of this process over the held-out images, last measured."""

    def tuning(self, part: str) -> tuple[OptimizerConfig, ScheduleConfig]:
        own = self.recipe.adversarial if part == "discriminator" else None  # type: ignore[attr-defined]
        optimizer, schedule = super().tuning(part)
        return (own.optimizer or optimizer, own.schedule or schedule) if own else (optimizer, schedule)

    def remarks(self, steps: int) -> list[str]:
        late = self.adversary.heard if self.adversary else 0
        odd = (
            f"the run ends after {steps:,} steps, and its discriminator would be heard from step {late:,} on"
        )
        return [odd] if late > steps else []

    def identity(self) -> dict[str, Any]:
        return self.objective.identity()

    def nothing_counted(self) -> DeviceCounts | None:
        """Counts of no image yet; None without a codebook."""
        codes = self.tokenizer.spec.codebook_size
        return DeviceCounts(codes, self.entries, self.device) if codes else None

    def start_from(self, model: str, progress: Progress) -> None:
        progress.say(start_from(self.tokenizer, model))

    @classmethod
    def open_data(cls, recipe: Recipe, plan: TrainPlan, models: Models) -> Data:
        return image_data(recipe.data, plan)

    def missing(self) -> list[str]:
        table = getattr(self.recipe.tokenizer.codebook, "file", None)  # type: ignore[attr-defined]
        there = table is None or files.is_file(table)
        return [] if there else [f"codebook.base: {table} does not exist"]

    def example(self, images: int) -> tuple[Tensor, ...]:
        return (torch.empty(images, 3, *self.recipe.data.height_width, device=self.device),)

    def compute(self, images: int) -> object:
        (batch,) = self.example(images)
        reconstruction, quantized = self.parts["model"](batch)
        late = sys.maxsize  # by then the discriminator is heard
        return quantized, self.objective.losses(reconstruction, batch, self.tokenizer.last_layer, late)

    def beside(self) -> list[nn.Module]:
        return list(self.objective.terms.values())

    def load(self, loaded: ImageBatch) -> Batch:
        return Batch(on_device(loaded.stacked(), self.device), fetched(loaded.labels, self.device))

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, Losses]]:
        reconstruction, quantized = self.parts["model"](batch.images)
        if self.usage:
            self.usage.add(quantized.tokens)
        pair = (reconstruction, batch.images)
        yield "model", self.objective.losses(*pair, self.tokenizer.last_layer, step) | quantized.losses
        if self.adversary and self.adversary.plays(step):
            yield "discriminator", self.adversary.losses(self.parts["discriminator"], *pair)

    def observed(self) -> dict[str, Tensor]:
        return self.adversary.observed() if self.adversary else {}

    def warnings(self, numbers: dict[str, float]) -> list[str]:
        alarmed = self.objective.alarm.read(numbers) if self.objective.alarm else []
        return alarmed + (self.watch.read(numbers) if self.usage else [])

    def stepped(self, part: str) -> list[Restarted]:
        if part == "model":
            return self.tokenizer.quantizer.update()
        if self.adversary:
            self.adversary.lecam.update()
        return []

    def numbers(self) -> dict[str, float]:
        if not self.usage:
            return {}
        counts = self.usage.summed()
        self.usage, report = self.nothing_counted(), counts.report()
        own = self.tokenizer.quantizer.codebook.numbers(counts.counts_k)
        return own | {
            "utilization": report.utilization,
            "utilization_tokens": report.tokens,
            "perplexity": report.perplexity,
        }

    def tensors(self) -> dict[str, Tensor]:
        counted = self.usage.tensors() | {"watch": self.watch.state()} if self.usage else {}
        return counted | self.objective.tensors()

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.objective.load_tensors(tensors)
        if "watch" in tensors:
            self.watch.load_state(tensors["watch"])
        if self.usage:
            self.usage.load_tensors(tensors)

    def validate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Any]:
        """PSNR, LPIPS where the loss has its network here, and the usage of the codebook: ``score``."""
        assert isinstance(model, Tokenizer)
        images = (batch.images for batch in batches)
        self.validated = self.nothing_counted()
        return score(model, images, self.validated, self.objective.lpips)

    def complete(
        self, model: nn.Module, measured: dict[str, Any], again: Callable[[int], Iterator[Batch]]
    ) -> dict[str, Any]:
        assert isinstance(model, Tokenizer)
        each = grid_length(self.tokenizer.grid(*self.recipe.data.height_width))
        missing = missing_images(self.tokenizer.spec.codebook_size, measured.get("tokens", 0), each)
        if self.validated is None or not missing:
            return measured
        return count_further(model, (batch.images for batch in again(missing)), self.validated, measured)

    def outline(self) -> str:
        sides, codes = self.recipe.data.height_width, self.tokenizer.spec.codebook_size
        return tokens_in_words(self.tokenizer.grid(*sides), sides, codes)

    @classmethod
    def summary(cls, measured: dict[str, Any]) -> list[str]:
        if not measured:
            return []
        return [in_words(measured)]

    def picture(self, model: nn.Module, batch: Batch | None) -> Image | None:
        """Images, and below them what the model makes of them."""
        assert isinstance(model, Tokenizer)
        if batch is None:
            return None
        images = batch.images[:PICTURED]
        reconstruction, _ = model(images)
        return contact_sheet(torch.cat([to_uint8(images), to_uint8(reconstruction)]), columns=len(images))

    def describe(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, Tokenizer)
        files.write_json(folder / "config.json", describe_tokenizer(model))

    def export(self, model: nn.Module, folder: Path, measured: dict[str, Any]) -> None:
        assert isinstance(model, Tokenizer)
        usage = usage_record(measured, self.recipe.data.source)
        said = self.objective.other_weights
        if usage and said:
            usage = usage.model_copy(update={"cautions": said})
        averaged = self.recipe.training.average
        note = (
            f"Weights: running average, decay {averaged}."
            if averaged
            else "Weights: as trained, not averaged."
        )
        if measured and usage is None:  # without a codebook, quality is all that was measured
            of = f"{measured['images']:,} held-out images of {self.recipe.data.source}"
            note = "\n".join([*quality_lines(measured, of, PROTOCOL.name, said), note])
        save_tokenizer(model, folder, usage=usage, note=note)
