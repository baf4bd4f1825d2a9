"""Training a tokenizer: reconstruct images, keep latents and codes together, use every code.

Shape letters: B images, K codes, L tokens an image.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL.Image import Image
from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli import files
from vqcli.checkpoint import describe_tokenizer, save_tokenizer
from vqcli.data.loader import Batch as ImageBatch
from vqcli.data.loader import TrainPlan
from vqcli.errors import VqcliError
from vqcli.metrics.image import psnr
from vqcli.metrics.usage import UsageCounts
from vqcli.nn.distributed import all_reduce_sum
from vqcli.pixels import contact_sheet, normalize, to_uint8
from vqcli.registry import LossConfig, TokenizerConfig, build
from vqcli.tokenizers.base import Tokenizer
from vqcli.training.data import Data, image_data
from vqcli.training.initial import freeze, start_from
from vqcli.training.models import Models
from vqcli.training.recipe import Recipe
from vqcli.training.task import Losses, Task
from vqcli.types import Progress, Tokens

PICTURED = 8
"""Images of a grid at most."""


class TokenizerRecipe(Recipe):
    """A recipe that trains a tokenizer."""

    task: str = "tokenizer"
    tokenizer: TokenizerConfig
    losses: tuple[LossConfig, ...] = Field(min_length=1)
    """Losses on images and their reconstructions, each once; the quantizer adds its own."""
    freeze: tuple[str, ...] = ()
    """Parts of the tokenizer that stand still, such as ``encoder`` or ``quantizer.codebook``."""

    @model_validator(mode="after")
    def losses_differ(self) -> TokenizerRecipe:
        """Losses are told apart by their names."""
        names = [getattr(config, "name", "") for config in self.losses]
        if len(set(names)) < len(names):
            raise ValueError(f"losses: one stands twice in {', '.join(names)}")
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
        self.terms = {config.name: build("losses", config).to(device) for config in recipe.losses}  # type: ignore[attr-defined]
        self.device, self.entries = device, len(grid)
        self.usage = self.nothing_counted()

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

    def load(self, loaded: ImageBatch) -> Batch:
        return Batch(normalize(loaded.stacked().to(self.device)), loaded.labels.to(self.device))

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, Losses]]:
        reconstruction, quantized = self.parts["model"](batch.images)
        count(self.usage, quantized.tokens)
        pixel = {name: term(reconstruction, batch.images) for name, term in self.terms.items()}
        yield "model", pixel | quantized.losses

    def stepped(self, part: str) -> None:
        if part == "model":
            self.tokenizer.quantizer.update()

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
        return {"counts": torch.from_numpy(self.usage.counts_ek), "images": torch.tensor(self.usage.images)}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.usage.counts_ek[:] = tensors["counts"].numpy()
        self.usage.images = int(tensors["images"])

    def validate(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, Any]:
        """PSNR of 8-bit images (mean over images, dB) and the exact usage of the codebook."""
        assert isinstance(model, Tokenizer)
        baked = copy.deepcopy(model)
        baked.bake()
        usage, sums = self.nothing_counted(), torch.zeros(2, dtype=torch.float64)
        for batch in batches:
            tokens = baked.encode(batch.images)
            count(usage, tokens)
            values_b = psnr(to_uint8(baked.decode(tokens)), to_uint8(batch.images))
            sums += torch.tensor([values_b.sum().item(), len(values_b)], dtype=torch.float64)
        total, images = all_reduce_sum(sums.float().to(self.device)).tolist()
        report = self.summed(usage).report()
        if not images:
            return {}
        return {
            "psnr": total / images,
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
                | {"psnr": measured["psnr"]}
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
