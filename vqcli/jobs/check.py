"""What a recipe would train and what that costs, worked out without training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vqcli.data.images.open import claimant
from vqcli.data.loader import TrainPlan
from vqcli.errors import VqcliError
from vqcli.jobs.finder import Onlooker
from vqcli.plugins import uses
from vqcli.registry import resolve
from vqcli.training.data import Data
from vqcli.training.recipe import Recipe, read_recipe, steps_in
from vqcli.training.task import Task


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
    downloads: list[str]
    """What training would bring here first."""
    remarks: list[str]
    """What is odd about the recipe."""
    steps: int | None
    """Optimizer steps; None if they depend on data that is not here."""
    batch_size: int
    memory: dict[str, int]
    """Bytes on one process: weights with gradients and moments, and activations of the model's pass."""
    plugins: dict[str, list[str]]
    """Plugins that it has parts of: module -> those parts."""
    settings: dict[str, Any]
    """The recipe, resolved."""


def check_recipe(reference: str, settings: Sequence[str], lpips_weights: Path | None = None) -> RecipeInfo:
    """Validate a recipe and build its model on the meta device. Raises VqcliError on what is wrong."""
    recipe = read_recipe(reference, settings, lpips_weights)
    kind, models = resolve("tasks", recipe.task), Onlooker()
    missing: list[str] = []
    data = None
    try:
        data = kind.open_data(recipe, TrainPlan(recipe.seed, recipe.training.batch_size), models)
    except VqcliError as e:
        if e.reason == "os":  # nobody knows whether the images can be used
            raise
        missing.append(str(e))
    task = _outline(recipe, models, data)
    model, images = task.parts["model"], data.images if data else None
    per_epoch = images // recipe.training.batch_size if images else None
    fixed = not str(recipe.training.steps).endswith("epochs")
    steps = steps_in(recipe.training.steps, per_epoch or 1) if per_epoch or fixed else None
    modules = [*task.parts.values(), *task.beside()]
    trained = sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad)
    still = [p for m in modules for p in (*m.parameters(), *m.buffers()) if not p.requires_grad]
    frozen = sum(tensor.numel() for tensor in still)
    return RecipeInfo(
        recipe=reference,
        parameters=parameters_of(model),
        images=images,
        missing=[*missing, *models.missing, *task.missing()],
        downloads=models.coming,
        remarks=task.remarks(steps) if steps else [],
        steps=steps,
        batch_size=recipe.training.batch_size,
        memory={"weights": 4 * (4 * trained + frozen), "activations": activations(task, recipe)},
        plugins=uses(recipe, claimant(recipe.data.source)),
        settings=recipe.model_dump(mode="json"),
    )


def _outline(recipe: Recipe, models: Onlooker, data: Data | None) -> Task:
    """A recipe's task on the meta device: all of its shapes, no memory."""
    meta = torch.device("meta")
    with meta:
        task: Task = resolve("tasks", recipe.task)(recipe, meta, models=models, data=data)
    return task


def require_room(recipe: Recipe, data: Data) -> None:
    """Raises VqcliError where the weights alone are more than this machine's memory; none is taken."""
    try:
        task = _outline(recipe, Onlooker(), data)
    except VqcliError:  # whoever builds it tells
        return
    needed = 4 * sum(map(count, task.parts.values()))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise VqcliError(
            f"the recipe's model has {needed / 2**30:,.0f} GiB of weights, this machine {there / 2**30:,.0f} "
            "GiB of memory",
            hint="ask for fewer codes, channels or layers; vqcli check tells parameters",
            reason="memory",
        )


def parameters_of(model: nn.Module) -> dict[str, int]:
    """How many numbers each part of a model learns, those that are no module's too, and all."""
    parts = {name: count(child) for name, child in model.named_children()}
    parts |= {name: p.numel() for name, p in model.named_parameters(recurse=False)}
    return {name: n for name, n in parts.items() if n} | {"total": count(model)}


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def activations(task: Task, recipe: Recipe) -> int:
    """Bytes that backward keeps of one pass, counted on the meta device: nothing is computed or held."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    modules = (*task.parts.values(), *task.beside())
    known = {p.untyped_storage()._cdata for m in modules for p in m.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = task.compute(recipe.training.batch_size // recipe.training.accumulate)
    del outputs
    return sum(storage.nbytes() for key, storage in kept.items() if key not in known)
