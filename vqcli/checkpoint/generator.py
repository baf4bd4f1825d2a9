"""A generator's model folder: its weights, the names of its classes, and a copy of its tokenizer's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from vqcli import files
from vqcli.checkpoint.classes import write_classes
from vqcli.checkpoint.folder import FORMAT, TOKENIZER, damaged, read_config
from vqcli.checkpoint.kinds import KINDS
from vqcli.checkpoint.tokenizer import save_tokenizer
from vqcli.checkpoint.weights import load_state, read_tensors, weights_file
from vqcli.errors import VqcliError
from vqcli.generators.base import Generator
from vqcli.plugins import needed, require, sentence
from vqcli.registry import GeneratorConfig, build
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import TokenizerSpec


def describe_generator(generator: Generator) -> dict[str, Any]:
    """``config.json`` of a generator; ``tokenizer`` is what it must know of the one whose tokens it makes."""
    return {
        "kind": "generator",
        "format": FORMAT,
        "tokenizer": _told(generator.spec),
        "generator": generator.config.model_dump(mode="json"),
        "makes": generator.makes,
        **needed(generator.config),
    }


def _told(spec: TokenizerSpec) -> dict[str, Any]:
    """As JSON values; how latents were standardized only where they were."""
    return {name: value for name, value in asdict(spec).items() if name != "latents" or value}


def save_generator(
    generator: Generator,
    folder: Path,
    tokenizer: Tokenizer | None,
    *,
    classes: Sequence[str] = (),
    note: str = "",
) -> None:
    """Write a model folder into an existing, empty folder, with the tokenizer if it is at hand."""
    made_for = {"fingerprint": generator.spec.fingerprint}
    files.write_tensors(folder / "model.safetensors", generator.state_dict(), made_for)
    if tokenizer is not None:
        (folder / TOKENIZER).mkdir()
        save_tokenizer(tokenizer, folder / TOKENIZER)
    write_classes(folder, classes)
    files.write_text(folder / "README.md", _card(generator, note))
    files.write_json(folder / "config.json", describe_generator(generator))


def _card(generator: Generator, note: str) -> str:
    spec, count = generator.spec, sum(p.numel() for p in generator.parameters())
    size = "x".join(map(str, spec.image_size)) if spec.image_size else "some"
    lines = [
        "---\nlibrary_name: vqcli\ntags: [image-generation, vector-quantization]\n---",
        f"# A generator ({generator.config.name}) of {generator.config.classes:,} classes\n",
        f"{count:,} parameters; images of {size} pixels as {_what(generator)}.",
        note,
        sentence(generator.config),
        f"\n    vqcli {KINDS['generator'].use} -m THIS_FOLDER\n",
    ]
    return "\n".join(line for line in lines if line)


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
    config = read_config(folder, "generator")
    require(config.get("plugins", []), folder)
    try:
        generator_config = TypeAdapter(GeneratorConfig).validate_python(config["generator"])
        spec = TypeAdapter(TokenizerSpec).validate_python(config["tokenizer"])
        with torch.device("meta"):
            generator: Generator = build("generators", generator_config, spec)
    except (ArithmeticError, KeyError, RuntimeError, TypeError, ValueError, VqcliError) as e:
        raise damaged(folder, e) from e
    load_state(generator, read_tensors(weights_file(folder), spec.fingerprint), folder)
    return generator
