"""What something is: a model, from its folder alone; tokens, images or a recipe."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from vqcli import files
from vqcli.checkpoint.folder import row_of
from vqcli.checkpoint.told import Row
from vqcli.data.names import named
from vqcli.errors import VqcliError
from vqcli.library.aliases import ALIASES
from vqcli.library.find import model_folder
from vqcli.library.references import ENVIRONMENT
from vqcli.parts import attribute
from vqcli.recipes import recipe_names
from vqcli.types import Progress, silent


class Info(Protocol):
    """Something in numbers: a dataclass, whose other fields are those of its kind.

    One of many parts also has ``listing()``: a row for each of them, for those who want all.
    """

    @property
    def kind(self) -> str:
        """``tokens``, ``latents``, ``images``, ``recipe``, or a row of ``checkpoint.kinds``."""

    def rows(self) -> list[Row]:
        """What a table for people says, line by line."""


class ModelInfo(Info, Protocol):
    """A model's folder in numbers."""

    @property
    def folder(self) -> Path:
        """Where the model lies."""


def describe(text: str | None, progress: Progress = silent) -> Info:
    """What a text names, told. Raises VqcliError where it names nothing, or what it names is damaged.

    Tokens go first, then what lies here, a model or images; of what does not, a shipped recipe goes before
    images, and an alias of a published model before a recipe.
    """
    if text is None:
        return describe_model(None, progress)
    kind = named(text)
    if kind in ("tokens", "latents"):
        from vqcli.jobs.tokens_info import describe_tokens

        return describe_tokens(Path(text), kind)
    if is_recipe(text):
        from vqcli.jobs.recipe_info import describe_recipe  # torch is imported here

        return describe_recipe(text)
    if kind == "model":
        return describe_model(text, progress)
    from vqcli.jobs.images_info import describe_images

    try:
        return describe_images(text, progress)
    except VqcliError as e:
        if e.reason != "input-empty" or not files.is_folder(Path(text)):
            raise
        hint = "give a model folder, a run such as runs/demo, tokens, images, or a recipe"
        raise VqcliError(f"{text} holds no model, no tokens and no images", hint=hint, reason=e.reason) from e


def is_recipe(text: str) -> bool:
    """Whether a text names a recipe: a YAML file, or a shipped one that nothing else is called."""
    if text.lower().endswith((".yaml", ".yml")):
        return True
    return text in recipe_names() and text not in ALIASES and not files.exists(Path(text))


def describe_model(reference: str | None, progress: Progress = silent) -> ModelInfo:
    """What the JSON files and the headers of the weight files say. Nothing is loaded."""
    folder = model_folder(reference, progress)
    try:
        describe = attribute(row_of(folder).describe)
        found: ModelInfo = describe(folder, reference or os.environ.get(ENVIRONMENT, ""))
        with suppress(VqcliError):  # a plugin that is not allowed
            found.rows()  # what people are told is of the types that it should be
        return found
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        told = f"tell {e}" if isinstance(e, KeyError) else "describe a model"
        message = f"{folder}/config.json does not {told}"
        raise VqcliError(message, hint="copy the folder again", reason="damaged") from e
