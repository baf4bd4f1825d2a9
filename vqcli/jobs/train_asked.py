"""Which recipe a user means, with which settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vqcli import files
from vqcli.data.images.open import claimant
from vqcli.data.names import named
from vqcli.errors import VqcliError
from vqcli.jobs.options import TrainOptions
from vqcli.recipes import recipe_names
from vqcli.registry import resolve
from vqcli.training.recipe import recipe_keys
from vqcli.training.run import Run
from vqcli.yaml_text import override


def recipe_name(options: TrainOptions) -> str:
    """The recipe of a new run: the one that is named, or one for its data."""
    return options.recipe or default_recipe(options.settings)


def default_recipe(settings: Sequence[str]) -> str:
    """``photos`` for whatever images are named, else the demo.

    Raises VqcliError for tokens and latents, and for a tokenizer, from which only generators learn.
    """
    keys = override({}, settings)
    source = keys.get("data", {}).get("source")
    if isinstance(keys.get("tokenizer"), str):
        raise VqcliError(
            "--tokenizer is what a generator learns from: name a generator's recipe",
            hint=f"vqcli train gpt-cifar10 --data {source or 'IMAGES'} --tokenizer {keys['tokenizer']}",
            reason="option",
        )
    if source is None or resolve("sources", "demo").claims(str(source)):
        return "demo"
    kind = named(str(source))
    if kind in ("tokens", "latents") and files.exists(Path(str(source))):
        raise VqcliError(
            f"{source} holds {kind}, which a generator learns: name its recipe",
            hint=f"vqcli train gpt-cifar10 --data {source} --tokenizer MODEL; vqcli list recipes",
            reason="option",
        )
    return "photos"


def check_is_recipe(name: str) -> None:
    """Raises VqcliError if what stands for a recipe is a run, or images."""
    if files.is_folder(Path(name)) and Run(Path(name)).started():
        raise VqcliError(
            f"{name} is a run, not a recipe",
            hint=f"continue it: vqcli train --resume {name}; or train {name}/recipe.yaml anew, with --out",
            reason="config",
        )
    if name not in recipe_names() and claimant(name):
        raise VqcliError(
            f"{name} holds images, and is no recipe", hint=f"vqcli train --data {name}", reason="config"
        )


def with_codes(name: str, options: TrainOptions) -> list[str]:
    """The settings of a run, with that of ``codes``. Raises VqcliError where the recipe has no such key."""
    if options.codes is None:
        return options.settings
    tokenizer = recipe_keys(name, options.settings).get("tokenizer")
    book = tokenizer.get("codebook") if isinstance(tokenizer, dict) else None
    if not isinstance(book, dict):
        raise VqcliError(
            f"--codes: {name} trains no codebook",
            hint="a generator has the codes of its tokenizer: --tokenizer MODEL",
            reason="option",
        )
    keys = resolve("codebooks", book.get("name")).Config.model_fields
    if "size" not in keys:
        others = ", ".join(f"tokenizer.codebook.{key}" for key in keys if key in ("levels", "bits"))
        raise VqcliError(
            f"--codes: the codebook '{book['name']}' of {name} has no size of its own",
            hint=f"its codes follow from {others}: --set {others}=..." if others else "leave --codes away",
            reason="option",
        )
    return [*options.settings, f"tokenizer.codebook.size={options.codes}"]
