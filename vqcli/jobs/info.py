"""What a model is, from its folder alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vqcli.checkpoint import read_config
from vqcli.errors import VqcliError
from vqcli.jobs.cache import model_folder
from vqcli.jobs.usage import read_usage
from vqcli.types import Progress, silent


@dataclass(frozen=True)
class ModelInfo:
    """A model folder in numbers."""

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


TOLD = ("kind", "codebook_size", "width", "downsample", "image_size", "fingerprint", "tokenizer")
"""Keys of ``config.json`` that are told as they are."""


def describe_model(reference: str | None, progress: Progress = silent) -> ModelInfo:
    """What ``config.json``, ``usage.json`` and the headers of the weight files say. Nothing is loaded."""
    folder = model_folder(reference, progress)
    config = read_config(folder)
    weights = [
        folder / name for name in ("model.safetensors", "codebook.safetensors") if (folder / name).is_file()
    ]
    usage = folder / "usage.json"
    try:
        told = {name: config[name] for name in TOLD}
    except KeyError as e:
        raise VqcliError(
            f"{folder}/config.json does not tell {e}", hint="copy the folder again", reason="damaged"
        ) from e
    return ModelInfo(
        folder=folder,
        parameters=sum(map(_elements, weights)),
        bytes=sum(path.stat().st_size for path in weights),
        usage=read_usage(usage) if usage.is_file() else None,
        **told,
    )


def _elements(path: Path) -> int:
    """Numbers in a weight file, by its header. Raises VqcliError if it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as e:
        raise VqcliError(f"cannot read {path}: {e}", hint="copy the folder again", reason="damaged") from e
    return sum(map(math.prod, shapes))
