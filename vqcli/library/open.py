"""Models opened for use, by the names users give them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from vqcli import files
from vqcli.checkpoint.folder import TOKENIZER, row_of
from vqcli.checkpoint.generator import load_generator
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.generators.base import Generator
from vqcli.library.aliases import ALIASES, DEFAULT, GENERATOR
from vqcli.library.find import model_folder
from vqcli.library.references import ENVIRONMENT, published
from vqcli.parts import attribute
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import Progress, silent
from vqcli.yaml_text import read_yaml


def open_model(reference: str, device: torch.device, progress: Progress = silent) -> tuple[Any, Path]:
    """The model a user named, whatever its kind, ready, and its folder. Raises VqcliError."""
    folder = model_folder(reference, progress)
    return attribute(row_of(folder).load)(folder, device), folder


def open_tokenizer(
    reference: str | None, device: torch.device, progress: Progress = silent
) -> tuple[Tokenizer, Path]:
    """The tokenizer a user named, baked and ready, and its folder; a published one for who names none."""
    folder = folder_or(DEFAULT, reference, progress)
    return load_tokenizer(folder, device), folder


def open_generator(
    reference: str | None, device: torch.device, progress: Progress = silent
) -> tuple[Generator, Path]:
    """The generator a user named, ready, and its folder; a published one for who names none."""
    folder = folder_or(GENERATOR, reference, progress)
    return load_generator(folder, device), folder


def folder_or(default: str, reference: str | None, progress: Progress) -> Path:
    """The folder of the model a user named; of the alias ``default``, which is said, for who names none."""
    if not reference and not os.environ.get(ENVIRONMENT):
        reference = default
        progress.say(f"no --model: {default}, {ALIASES[default].what}")
    return model_folder(reference, progress)


def generator_tokenizer(
    folder: Path, reference: str | None, named: str | None, progress: Progress = silent
) -> Path | None:
    """The folder of the tokenizer that a generator goes with; None where nobody tells.

    ``named`` goes first, then what lies in the generator's folder, or what its run trains on, then what
    belongs to ``reference``, the short name it was opened by. Whether the two fit is not looked at.
    """
    if named:
        return model_folder(named, progress)
    if files.is_file(folder / TOKENIZER / "config.json"):
        return folder / TOKENIZER
    recipe = folder.parent.parent / "recipe.yaml"
    if files.is_file(folder / "state.json") and files.is_file(recipe):  # a checkpoint: its run knows
        return model_folder(read_yaml(recipe)["tokenizer"], progress)
    source = published(reference or os.environ.get(ENVIRONMENT) or GENERATOR)
    if not (source and source.tokenizer):
        return None
    from vqcli.library.published import published_folder  # what talks to servers is imported here

    return published_folder(ALIASES[source.tokenizer], progress)
