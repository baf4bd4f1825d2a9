"""A generator's model folder: its weights, the names of its classes, and a copy of its tokenizer's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vqcli import files
from vqcli.checkpoint.folder import FORMAT
from vqcli.checkpoint.on_tokens import card, read_network, told_spec, write_network
from vqcli.generators.base import Generator
from vqcli.plugins import needed
from vqcli.registry import GeneratorConfig
from vqcli.tokenizers.base import Tokenizer


def describe_generator(generator: Generator) -> dict[str, Any]:
    """``config.json`` of a generator; ``tokenizer`` is what it must know of the one whose tokens it makes."""
    return {
        "kind": "generator",
        "format": FORMAT,
        "tokenizer": told_spec(generator.spec),
        "generator": generator.config.model_dump(mode="json"),
        "makes": generator.makes,
        **needed(generator.config),
    }


def save_generator(
    generator: Generator,
    folder: Path,
    tokenizer: Tokenizer | None,
    *,
    classes: Sequence[str] = (),
    note: str = "",
) -> None:
    """Write a model folder into an existing, empty folder, with the tokenizer if it is at hand."""
    write_network(generator, folder, tokenizer, classes)
    files.write_text(folder / "README.md", card(generator, "generator", _what(generator), note))
    files.write_json(folder / "config.json", describe_generator(generator))


def _what(generator: Generator) -> str:
    spec = generator.spec
    if generator.makes == "tokens":
        return f"tokens of {spec.codebook_size:,} codes"
    return f"latents of width {spec.width}" + (", standardized" if spec.latents else "")


def load_generator(folder: Path, device: torch.device | str = "cpu") -> Generator:
    """The generator of a model folder or training checkpoint, in evaluation mode.

    Raises VqcliError where ``read_generator`` does.
    """
    return read_generator(folder).eval().to(device)


def read_generator(folder: Path) -> Generator:
    """The generator of a model folder or training checkpoint.

    Raises VqcliError where files are missing, damaged, not finite, or do not fit each other, and where it
    needs a plugin that is not allowed.
    """
    generator: Generator = read_network(folder, "generator", GeneratorConfig)
    return generator
