"""What a model is, from its folder alone."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open

from vqcli.checkpoint.folder import kind_of, read_config
from vqcli.checkpoint.generator import read_classes
from vqcli.errors import VqcliError
from vqcli.jobs.usage import read_usage
from vqcli.library.find import model_folder
from vqcli.library.references import ENVIRONMENT, published
from vqcli.types import Grid, Progress, TokenizerSpec, silent


@dataclass(frozen=True)
class TokenizerInfo:
    """A tokenizer's folder in numbers."""

    folder: Path
    kind: str
    codebook_size: int
    width: int
    downsample: int
    image_size: list[int] | None
    parameters: int
    """Of all weight files, codes included."""
    bytes: int
    fingerprint: str
    tokenizer: dict[str, Any]
    """Its full configuration."""
    usage: dict[str, Any] | None
    """Utilization measured when it was exported."""


@dataclass(frozen=True)
class GeneratorInfo:
    """A generator's folder in numbers."""

    folder: Path
    kind: str
    parameters: int
    bytes: int
    """Of its weights; its tokenizer has its own."""
    classes: int
    named: bool
    """Whether its classes have names."""
    codebook_size: int
    """Of the tokenizer whose tokens it makes."""
    image_size: tuple[int, int] | None
    grid: Grid
    """Tokens of an image, coarse to fine."""
    fingerprint: str
    """Of the tokenizer; empty where nobody told which it is."""
    tokenizer: str | None
    """Where that is: a folder, or a short name; None where nobody tells."""
    generator: dict[str, Any]
    """Its full configuration, defaults of sampling too."""


TOLD = ("kind", "codebook_size", "width", "downsample", "image_size", "fingerprint", "tokenizer")
"""Keys of a tokenizer's ``config.json`` that are told as they are."""


def describe_model(reference: str | None, progress: Progress = silent) -> TokenizerInfo | GeneratorInfo:
    """What the JSON files and the headers of the weight files say. Nothing is loaded."""
    folder = model_folder(reference, progress)
    try:
        if kind_of(folder) == "generator":
            return _generator(folder, reference or os.environ.get(ENVIRONMENT, ""))
        return _tokenizer(folder)
    except (KeyError, TypeError, ValueError) as e:
        told = f"tell {e}" if isinstance(e, KeyError) else "describe a model"
        message = f"{folder}/config.json does not {told}"
        raise VqcliError(message, hint="copy the folder again", reason="damaged") from e


def _tokenizer(folder: Path) -> TokenizerInfo:
    config = read_config(folder)
    weights = [
        folder / name for name in ("model.safetensors", "codebook.safetensors") if (folder / name).is_file()
    ]
    usage = folder / "usage.json"
    return TokenizerInfo(
        folder=folder,
        parameters=sum(map(_elements, weights)),
        bytes=sum(path.stat().st_size for path in weights),
        usage=read_usage(usage) if usage.is_file() else None,
        **{name: config[name] for name in TOLD},
    )


def _generator(folder: Path, reference: str) -> GeneratorInfo:
    config, weights = read_config(folder, "generator"), folder / "model.safetensors"
    generator, spec = config["generator"], TypeAdapter(TokenizerSpec).validate_python(config["tokenizer"])
    inside, source = folder / "tokenizer", published(reference)
    return GeneratorInfo(
        folder=folder,
        kind="generator",
        parameters=_elements(weights),
        bytes=weights.stat().st_size,
        classes=generator["classes"],
        named=bool(read_classes(folder)),
        codebook_size=spec.codebook_size,
        image_size=spec.image_size,
        grid=spec.grid or (),
        fingerprint=spec.fingerprint,
        tokenizer=str(inside) if inside.is_dir() else (source.tokenizer if source else "") or None,
        generator=generator,
    )


def _elements(path: Path) -> int:
    """Numbers in a weight file, by its header. Raises VqcliError if it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as e:
        raise VqcliError(f"cannot read {path}: {e}", hint="copy the folder again", reason="damaged") from e
    return sum(map(math.prod, shapes))
