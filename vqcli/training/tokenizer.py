"""Training a tokenizer: reconstruct images, keep latents and codes together, use every code.

Shape letters: B images, K codes, L tokens an image.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL.Image import Image
from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli import files
from vqcli.checkpoint import describe_tokenizer, save_tokenizer
from vqcli.config import merged
from vqcli.data.loader import Batch as ImageBatch
from vqcli.data.loader import TrainPlan
from vqcli.errors import VqcliError
from vqcli.metrics.image import lpips, psnr
from vqcli.metrics.usage import UsageCounts
from vqcli.nn.distributed import all_reduce_sum
from vqcli.pixels import contact_sheet, normalize, to_uint8
from vqcli.registry import LossesConfig, TokenizerConfig, build
from vqcli.tokenizers.base import Tokenizer
from vqcli.training.adversary import AdversarialConfig
from vqcli.training.data import Data, image_data
from vqcli.training.initial import freeze, start_from
from vqcli.training.models import Models
from vqcli.training.objective import Objective
from vqcli.training.recipe import OptimizerConfig, Recipe, ScheduleConfig
from vqcli.training.task import Losses, Task
from vqcli.types import Progress, Tokens

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
        given = {key: own[key] for key in ("optimizer", "schedule") if isinstance(own.get(key), dict)}
        laid = {key: merged(data.get(key, {}), value) for key, value in given.items()}
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
        with torch.device("meta") if empty else nullcontext():
            self.tokenizer: Tokenizer = build("tokenizers", recipe.tokenizer)
        self.tokenizer = self.tokenizer.to_empty(device=device) if empty else self.tokenizer.to(device)
        freeze(self.tokenizer, recipe.freeze)
        self.tokenizer.image_size = recipe.data.height_width
        try:
            grid = self.tokenizer.grid(*recipe.data.height_width)
        except ValueError as e:
            raise VqcliError(f"data.size: {e}", hint="choose another data.size", reason="config") from e
        self.parts: dict[str, nn.Module] = {"model": self.tokenizer}
        self.device, self.entries = device, len(grid)
        per_epoch = max(1, data.images // recipe.training.batch_size) if data else 1
        self.objective = Objective(recipe, models, per_epoch, device)
        self.adversary = self.objective.adversary
        if self.adversary:
            self.parts["discriminator"] = self.adversary.discriminator
            self.adversary.check_hears(self.tokenizer.last_layer)
        self.usage = self.nothing_counted()

    def tuning(self, part: str) -> tuple[OptimizerConfig, ScheduleConfig]:
        own = self.recipe.adversarial if part == "discriminator" else None  # type: ignore[attr-defined]
        optimizer, schedule = super().tuning(part)
        return (own.optimizer or optimizer, own.schedule or schedule) if own else (optimizer, schedule)

    def identity(self) -> dict[str, Any]:
        return self.objective.identity()

    def nothing_counted(self) -> UsageCounts:
        """Counts of no image yet."""
        return UsageCounts(self.tokenizer.spec.codebook_size, self.entries)

    def start_from(self, model: str, progress: Progress) -> None:
        progress.say(start_from(self.tokenizer, model))

    @classmethod
    def open_data(cls, recipe: Recipe, plan: TrainPlan, models: Models) -> Data:
        return image_data(recipe.data, plan)

    def missing(self) -> list[str]:
        table = getattr(self.recipe.tokenizer.codebook, "file", None)  # type: ignore[attr-defined]
        there = table is None or table.is_file()
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
        return Batch(normalize(loaded.stacked().to(self.device)), loaded.labels.to(self.device))

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, Losses]]:
        reconstruction, quantized = self.parts["model"](batch.images)
        count(self.usage, quantized.tokens)
        pair = (reconstruction, batch.images)
        yield "model", self.objective.losses(*pair, self.tokenizer.last_layer, step) | quantized.losses
        if self.adversary and self.adversary.plays(step):
            yield "discriminator", self.adversary.losses(self.parts["discriminator"], *pair)

    def observed(self) -> dict[str, Tensor]:
        return self.adversary.observed() if self.adversary else {}

    def warnings(self, numbers: dict[str, float]) -> list[str]:
        return self.objective.alarm.heard(numbers) if self.objective.alarm else []

    def stepped(self, part: str) -> None:
        if part == "model":
            self.tokenizer.quantizer.update()
        elif self.adversary:
            self.adversary.lecam.update()

    def numbers(self) -> dict[str, float]:
        report = self.summed(self.usage).report()
        self.usage = self.nothing_counted()
        return {
            "utilization": report.utilization,
            "utilization_tokens": report.tokens,
            "perplexity": report.perplexity,
        }

    def summed(self, usage: UsageCounts) -> UsageCounts:
        """What all processes counted together."""
        total = self.nothing_counted()
        total.counts_ek += (
            all_reduce_sum(torch.from_numpy(usage.counts_ek).to(self.device, copy=True)).cpu().numpy()
        )
        total.images = int(all_reduce_sum(torch.tensor(usage.images, device=self.device)))
        return total

    def tensors(self) -> dict[str, Tensor]:
        counted = {
            "counts": torch.from_numpy(self.usage.counts_ek),
            "images": torch.tensor(self.usage.images),
        }
        return counted | (self.adversary.lecam.state_dict(prefix="lecam.") if self.adversary else {})

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        if self.adversary:
            means = {k.removeprefix("lecam."): x for k, x in tensors.items() if k.startswith("lecam.")}
            self.adversary.lecam.load_state_dict(means)
        self.usage.counts_ek[:] = tensors["counts"].numpy()
        self.usage.images = int(tensors["images"])

    def validate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Any]:
        """PSNR and LPIPS of 8-bit images (means over images) and the exact usage of the codebook.

        LPIPS where its network is here for the loss.
        """
        assert isinstance(model, Tokenizer)
        baked = copy.deepcopy(model)
        baked.bake()
        measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": psnr}
        if network := self.objective.lpips:
            measures["lpips"] = partial(lpips, network)
        usage, sums = self.nothing_counted(), torch.zeros(len(measures) + 1, dtype=torch.float64)
        for batch in batches:
            tokens = baked.encode(batch.images)
            count(usage, tokens)
            pair = to_uint8(baked.decode(tokens)), to_uint8(batch.images)
            values = [measure(*pair).sum().item() for measure in measures.values()]
            sums += torch.tensor([*values, len(batch.images)], dtype=torch.float64)
        *totals, images = all_reduce_sum(sums.float().to(self.device)).tolist()
        report = self.summed(usage).report()
        if not images:
            return {}
        return {
            **{name: total / images for name, total in zip(measures, totals)},
            "images": int(images),
            "utilization": report.utilization,
            "tokens": report.tokens,
            "uniform_expectation": report.uniform_expectation,
            "perplexity": report.perplexity,
            "usage": report,
        }

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
        usage = None
        if report := measured.get("usage"):
            names = ("codebook_size", "tokens", "used", "utilization", "uniform_expectation", "perplexity")
            what = f"{report.images:,} held-out images of {self.recipe.data.source}"
            usage = (
                {"images": what}
                | {name: getattr(report, name) for name in names}
                | {name: measured[name] for name in ("psnr", "lpips") if name in measured}
            )
        averaged = self.recipe.training.average
        note = (
            f"Weights: running average, decay {averaged}."
            if averaged
            else "Weights: as trained, not averaged."
        )
        save_tokenizer(model, folder, usage=usage, note=note)


def count(usage: UsageCounts, tokens: Tokens) -> None:
    """Add the tokens of a batch."""
    usage.add(tokens.ids.cpu().numpy(), tokens.grid)
