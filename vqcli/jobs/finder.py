"""Models that recipes stand on, found for training, which may download, or only looked at."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vqcli import files
from vqcli.checkpoint.tokenizer import read_tokenizer_outline
from vqcli.errors import VqcliError
from vqcli.library.downloads.web import check_online, size
from vqcli.library.find import model_folder
from vqcli.library.references import published
from vqcli.library.weights import cannot_be_had, network_weights, to_download
from vqcli.recipes import recipe_names
from vqcli.registry import build
from vqcli.tokenizers.base import Tokenizer
from vqcli.training.recipe import read_recipe
from vqcli.types import Progress, TokenizerSpec, silent

WITHOUT = "--set losses.perceptual=0"
"""How to train without a network that a loss compares features of."""


class Finder:
    """Models by reference: local ones, and published ones that are downloaded and imported when first met."""

    def __init__(self, progress: Progress = silent) -> None:
        self.progress = progress

    def folder(self, reference: str) -> Path:
        """The model folder of a reference. Raises VqcliError where there is none."""
        try:
            return model_folder(reference, self.progress)
        except VqcliError as e:
            name = Path(reference).name
            if e.reason != "input-missing" or name not in recipe_names():
                raise
            raise VqcliError(
                f"there is no model {reference} yet",
                hint=f"vqcli train {name} makes it",
                reason=e.reason,
            ) from e

    def spec(self, reference: str, size: tuple[int, int] | None) -> TokenizerSpec:
        """What a tokenizer is, for images of ``size`` or else its own. Raises VqcliError."""
        folder = self.folder(reference)
        tokenizer = read_tokenizer_outline(folder)
        if files.exists(folder / "state.json"):
            raise VqcliError(
                f"{folder} is a training checkpoint: its tokens are still to change",
                hint=f"finish it: vqcli train --resume {reference}",
                reason="unfinished",
            )
        try:
            tokenizer.image_size = size or tokenizer.image_size
            return tokenizer.spec
        except ValueError as e:
            raise VqcliError(f"data.size: {e}", hint="choose another data.size", reason="config") from e

    def network(self, name: str, given: str | None) -> dict[str, Tensor]:
        """The weights of a published network, by key as published. Raises VqcliError."""
        return network_weights(name, given, self.progress, WITHOUT)


class Onlooker(Finder):
    """As ``Finder``, but downloads nothing and lists what is not here yet."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: list[str] = []
        """What cannot be had, a sentence each."""
        self.coming: list[str] = []
        """What training would download first, a sentence each."""

    def spec(self, reference: str, size: tuple[int, int] | None) -> TokenizerSpec:
        """Of a published model by the table of aliases, of a run that is still to come by its recipe."""
        known = published(reference)
        if known and known.importer:  # one of the table
            height, width = size or (known.size, known.size)
            grid = known.grid(height, width)
            return TokenizerSpec(known.codes, known.width, known.downsample, (height, width), grid=grid)
        try:
            return super().spec(reference, size)
        except VqcliError as e:
            name = Path(reference).name
            if e.reason != "input-missing" or name not in recipe_names():
                raise
            told = f"{e}: {e.hint}"
            self.missing += [told] if told not in self.missing else []
            recipe = read_recipe(name)
            with torch.device("meta"):
                tokenizer: Tokenizer = build("tokenizers", recipe.tokenizer)  # type: ignore[attr-defined]
            tokenizer.image_size = size or recipe.data.height_width
            return tokenizer.spec

    def network(self, name: str, given: str | None) -> dict[str, Tensor]:
        """None: it only notes what is not here. Raises VqcliError where what is ``given`` is not there."""
        if files := to_download(name, given):
            try:
                check_online(files[0])
                what = " and ".join(f"{file.name} ({size(file.bytes)})" for file in files)
                self.coming.append(f"{name} needs {what}: downloaded once, when training starts")
            except VqcliError as e:
                told = cannot_be_had(name, files, e, WITHOUT)
                self.missing.append(f"{told}: {told.hint}")
        return {}
