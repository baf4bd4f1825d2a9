"""What a recipe trains: its parts and sizes, without data and without training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from vqcli.checkpoint.kinds import KINDS
from vqcli.checkpoint.told import Row, layers, layout, network
from vqcli.checkpoint.told import quantizer as quantizer_of
from vqcli.config import leaves
from vqcli.errors import VqcliError
from vqcli.jobs.check import count
from vqcli.jobs.finder import Onlooker
from vqcli.recipes import first_comment, recipe_names, recipe_text
from vqcli.registry import resolve
from vqcli.training.recipe import read_recipe
from vqcli.types import TokenizerSpec


@dataclass(frozen=True)
class RecipeOutline:
    """What a recipe would train."""

    recipe: str
    summary: str
    """Its first line."""
    task: str
    parameters: int | None
    """Of the model; None where what it stands on is not here."""
    spec: TokenizerSpec | None
    """Of the tokenizer that is trained, or whose tokens or latents are learned."""
    settings: dict[str, Any]
    """The recipe, resolved."""
    kind: str = "recipe"

    def rows(self) -> list[Row]:
        """What a table for people says, line by line."""
        told, training = self.settings, self.settings["training"]
        size = f", {self.parameters:,} parameters" if self.parameters else ""
        return [
            ("recipe", self.recipe),
            *([("what", self.summary)] if self.summary else []),
            ("trains", f"a {self.task}{size}"),
            *self._parts(),
            *([("losses", _losses(told["losses"]))] if "losses" in told else []),
            *([("adversarial", _adversarial(told["adversarial"]))] if told.get("adversarial") else []),
            ("length", f"{_steps(training['steps'])} of {training['batch_size']:,} images"),
            ("optimizer", f"{told['optimizer']['name']}, learning rate {told['optimizer']['lr']:g}"),
            ("data", told["data"]["source"]),
            ("next", f"vqcli train {self.recipe}; vqcli check {self.recipe} tells steps and memory"),
        ]

    def listing(self) -> list[Row]:
        """Every key with its value."""
        return [(key, str(value)) for key, value in leaves(self.settings)]

    def _parts(self) -> list[Row]:
        """What the model is made of, and what it makes."""
        spec, own = self.spec, self.settings
        if on_tokens := next((kind for kind, row in KINDS.items() if row.on_tokens and kind in own), ""):
            part = own[on_tokens]
            made: list[Row] = [(on_tokens, network(part)), ("tokenizer", own["tokenizer"])]
            made.append(("classes", f"{part['classes']:,}"))
            grid = spec.grid if spec else None
            return (
                [*made, ("images", layout(spec.image_size, grid, spec.codebook_size or None))]
                if spec and grid
                else made
            )
        tokenizer = own["tokenizer"]
        side = "x".join(map(str, spec.image_size)) if spec and spec.image_size else "any"
        sizes = layers(spec.codebook_size, spec.width, side, spec.downsample) if spec else []
        tokens = sum(h * w for h, w in spec.grid) if spec and spec.grid and spec.codebook_size else 0
        return [
            ("network", ", ".join(str(tokenizer[name]) for name in ("name", "network") if name in tokenizer)),
            ("codebook", tokenizer["codebook"]["name"]),
            ("quantizer", quantizer_of(tokenizer["quantizer"])),
            *sizes,
            *([("tokens", f"{tokens:,} an image")] if tokens else []),
        ]


def describe_recipe(text: str) -> RecipeOutline:
    """What a recipe would train; its model is built without memory. Raises VqcliError on what is wrong."""
    recipe = read_recipe(text)
    kind, meta = resolve("tasks", recipe.task), torch.device("meta")
    model = None
    try:
        with meta:
            model = kind(recipe, meta, models=Onlooker(), data=None).parts["model"]
    except VqcliError as e:
        if e.reason != "input-missing":
            raise
    return RecipeOutline(
        recipe=text,
        summary=first_comment(recipe_text(text)) if text in recipe_names() else "",
        task=recipe.task,
        parameters=count(model) if model else None,
        spec=model.spec if model else None,
        settings=recipe.model_dump(mode="json"),
    )


def _losses(losses: dict[str, Any]) -> str:
    return ", ".join(f"{name} {options['weight']:g}" for name, options in losses.items())


def _adversarial(options: dict[str, Any]) -> str:
    starts = f"from {options['disc_start']} on" if options["disc_start"] else "from the start"
    return f"{options['discriminator']['name']}, weight {options['weight']:g}, {starts}"


def _steps(steps: int | str) -> str:
    return f"{steps:,} steps" if isinstance(steps, int) else steps
