"""What a model is, from its folder alone, and what a recipe would train."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from vqcli.checkpoint import read_config
from vqcli.data.config import DataConfig
from vqcli.data.divide import divide
from vqcli.errors import VqcliError
from vqcli.jobs.cache import model_folder
from vqcli.jobs.usage import read_usage
from vqcli.registry import resolve
from vqcli.training.recipe import Recipe, read_recipe, steps_in
from vqcli.training.task import Batch
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


@dataclass(frozen=True)
class RecipeInfo:
    """What a recipe would train, worked out without training or data."""

    recipe: str
    parameters: dict[str, int]
    """Trained parameters of each part of the model."""
    images: int | None
    """Training images; None where the data is not here."""
    missing: list[str]
    """Why it would not train here: images or files that cannot be had."""
    steps: int | None
    """Optimizer steps; None if they depend on data that is not here."""
    batch_size: int
    memory: dict[str, int]
    """Bytes on one process: weights with gradients and moments, and activations of a step."""
    settings: dict[str, Any]
    """The recipe, resolved."""


def check_recipe(reference: str, settings: list[str]) -> RecipeInfo:
    """Validate a recipe and build its model on the meta device. Raises VqcliError on what is wrong."""
    recipe = read_recipe(reference, settings)
    meta = torch.device("meta")
    with meta:
        task = resolve("tasks", recipe.task)(recipe, meta)
    model = task.parts["model"]
    images, missing = training_images(recipe.data)
    table = getattr(recipe.tokenizer.codebook, "file", None)  # type: ignore[attr-defined]
    if table is not None and not table.is_file():
        missing.append(f"codebook.base: {table} does not exist")
    per_epoch = images // recipe.training.batch_size if images else None
    fixed = not str(recipe.training.steps).endswith("epochs")
    steps = steps_in(recipe.training.steps, per_epoch or 1) if per_epoch or fixed else None
    trained = sum(p.numel() for m in task.parts.values() for p in m.parameters() if p.requires_grad)
    still = [p for m in task.parts.values() for p in (*m.parameters(), *m.buffers()) if not p.requires_grad]
    frozen = sum(tensor.numel() for tensor in still)
    return RecipeInfo(
        recipe=reference,
        parameters={name: count(child) for name, child in model.named_children()} | {"total": count(model)},
        images=images,
        missing=missing,
        steps=steps,
        batch_size=recipe.training.batch_size,
        memory={"weights": 4 * (4 * trained + frozen), "activations": activations(task, recipe)},
        settings=recipe.model_dump(mode="json"),
    )


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def activations(task: Any, recipe: Recipe) -> int:
    """Bytes that backward keeps of one pass, counted on the meta device: nothing is computed or held."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    known = {p.untyped_storage()._cdata for m in task.parts.values() for p in m.parameters()}
    height, width = recipe.data.height_width
    per_pass = recipe.training.batch_size // recipe.training.accumulate
    batch = Batch(
        torch.empty(per_pass, 3, height, width, device="meta"), torch.zeros(per_pass, device="meta")
    )
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = task.parts["model"](batch.images)
    del outputs
    return sum(storage.nbytes() for key, storage in kept.items() if key not in known)


def training_images(data: DataConfig) -> tuple[int | None, list[str]]:
    """How many images a run would train on, if they are here, and else why not."""
    try:
        return len(divide(data).training), []
    except VqcliError as e:
        return None, [f"data.source: {e}"]
