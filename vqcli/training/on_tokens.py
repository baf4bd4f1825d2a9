"""Training a network on the tokens, or the latents, of images with classes: what such tasks share.

They lie in a file, or a frozen tokenizer makes them of images on the way.
Shape letters: B images.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.loader import Batch as ImageBatch
from vqcli.data.loader import TrainPlan
from vqcli.data.tokens.latents import LatentBatch
from vqcli.data.tokens.rows import RowBatch, TokenBatch
from vqcli.errors import VqcliError
from vqcli.library.references import locate
from vqcli.nn.meta import built
from vqcli.nn.precision import asking_later, autocast
from vqcli.pixels import fetched, on_device
from vqcli.quantizers.words import first_misfit
from vqcli.registry import build, resolve
from vqcli.training.classes import ClassList
from vqcli.training.data import Data
from vqcli.training.labelled import LabelledData, Wanted, check_there, labelled_data
from vqcli.training.models import Models
from vqcli.training.recipe import Recipe
from vqcli.training.shapes import Shapes
from vqcli.training.task import Losses, Task
from vqcli.types import Grid, Latents, Made, Makes, Progress, TokenizerSpec, Tokens, grid_length


class OnTokensRecipe(Recipe):
    """A recipe that trains a network on what a tokenizer makes; a task adds the section of its network."""

    tokenizer: str
    """MODEL whose tokens or latents are learned: a folder, a run, a published file, an alias, or a name on
    the Hub."""
    data: LabelledData


@dataclass(frozen=True)
class Batch:
    """What the network sees, with labels (B,), on the device."""

    made: Made
    labels: Tensor
    sums: tuple[Tensor, ...] = ()
    """Of what the tokenizer made, where nobody has asked yet whether it is finite."""


class OnTokensTask(Task):
    """Trains the network of a recipe's section; one part, ``model``. The tokenizer is beside it, frozen."""

    SECTION: ClassVar[str]
    """Of the recipe: the kind of network. It is a row of ``checkpoint.kinds``, and in the plural of parts."""
    makes: Makes = "tokens"
    """How the network sees images."""

    def __init__(
        self,
        recipe: Any,
        device: torch.device,
        *,
        models: Models,
        data: Data | None = None,
        empty: bool = False,
    ) -> None:
        self.recipe, self.device = recipe, device
        self.classes = ClassList(data.classes if data else ())
        spec, section = spec_of(recipe, models, data.grid if data else None), getattr(recipe, self.SECTION)
        self.network: Any = built(lambda: build(f"{self.SECTION}s", section, spec), device, empty=empty)
        self.makes = self.network.makes
        self.parts: dict[str, nn.Module] = {"model": self.network}
        if device.type != "meta":
            self.folder = models.folder(recipe.tokenizer)
            self.tokenizer = load_tokenizer(self.folder, device).requires_grad_(False)
            self.network.attach(self.tokenizer)
        else:
            self.network.attach(Shapes(self.network.spec))

    @classmethod
    def open_data(cls, recipe: Any, plan: TrainPlan, models: Models) -> Data:
        check_there(recipe.data.source)  # before a tokenizer is fetched
        spec = models.spec(recipe.tokenizer, recipe.data.wanted)
        network = getattr(recipe, cls.SECTION)
        makes = resolve(f"{cls.SECTION}s", network.name).makes
        wanted = Wanted(recipe.tokenizer, spec, network.classes, makes, cls.SECTION)
        return labelled_data(recipe.data, wanted, plan)

    @classmethod
    @abstractmethod
    def read(cls, folder: Path) -> Any:
        """The network of a model folder or checkpoint. Raises VqcliError."""

    def start_from(self, model: str, progress: Progress) -> None:
        folder = locate(model, unbaked=True)
        source = self.read(folder)
        misfit = first_misfit(source.state_dict(), self.network.state_dict())
        if misfit:
            raise VqcliError(
                f"{folder} does not fit the recipe: {misfit}",
                hint=f"give the recipe the model's network: vqcli info {folder} --json",
                reason="config",
            )
        self.network.load_state_dict(source.state_dict())
        self._follow(folder, progress)
        self.take(source.spec)
        theirs, ours = source.spec.fingerprint, self.network.spec.fingerprint
        note = ", which knew the tokens of another tokenizer" if theirs and theirs != ours else ""
        progress.say(f"starting from {folder}{note}")

    def take(self, spec: TokenizerSpec) -> None:
        """Take over what a model to start from knew of its tokenizer."""

    def recall(self, folder: Path, progress: Progress) -> None:
        self._follow(folder, progress)

    def _follow(self, folder: Path, progress: Progress) -> None:
        sentence = self.classes.follow(read_classes(folder), folder)
        if sentence:
            progress.say(sentence)

    def example(self, images: int) -> tuple[Any, ...]:
        labels = torch.zeros(images, dtype=torch.int64, device=self.device)
        return self.network.blank(images, self.device), labels

    def load(self, loaded: ImageBatch | RowBatch) -> Batch:
        labels = fetched(self.classes.number(loaded.labels), self.device)
        with torch.no_grad(), autocast("fp32", self.device), asking_later(self.device) as sums:
            made = self.represent(loaded)
        made = made if isinstance(made, Tokens) else made.standardized(self.network.spec.latents)
        return Batch(made, labels, tuple(sums))

    def represent(self, loaded: ImageBatch | RowBatch) -> Made:
        """What the network sees of a batch; the latents of tokens are their codes."""
        if isinstance(loaded, ImageBatch):
            return self.tokenizer.represent(on_device(loaded.stacked(), self.device), self.makes)
        if isinstance(loaded, LatentBatch):
            return Latents(fetched(loaded.values, self.device))
        assert isinstance(loaded, TokenBatch)
        tokens = Tokens(fetched(loaded.ids, self.device), self.network.grid)
        return tokens if self.makes == "tokens" else Latents(self.tokenizer.quantizer.lookup(tokens))

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, Losses]]:
        losses = self.parts["model"](batch.made, batch.labels)
        for x in batch.sums:  # the loop refuses what is not finite
            losses = {name: loss + 0 * x for name, loss in losses.items()}
        yield "model", losses

    def numbers(self) -> dict[str, float]:
        return {}

    def outline(self) -> str:
        spec, grid = self.network.spec, self.network.grid
        if self.makes == "tokens":
            each = f"{grid_length(grid):,} an image, of {spec.codebook_size:,} codes"
        else:
            each = f"none: latents of {'x'.join(map(str, grid[-1]))} an image"
        return f"{each}, as {self.recipe.tokenizer} makes them"  # type: ignore[attr-defined]


def spec_of(recipe: Any, models: Models, grid: Grid | None) -> TokenizerSpec:
    """What a network must know of its tokenizer; ``grid`` is that of tokens which are there already."""
    spec = models.spec(recipe.tokenizer, recipe.data.wanted)
    if grid is None or grid == spec.grid:
        return spec
    height, width = grid[-1]
    return replace(spec, grid=grid, image_size=(height * spec.downsample, width * spec.downsample))
