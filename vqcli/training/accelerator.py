"""Where a run trains: devices, processes, precision and trackers, as accelerate sees them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import set_seed

from vqcli.errors import VqcliError, suggestion
from vqcli.training.recipe import Recipe
from vqcli.training.run import Run

__all__ = ["Accelerator", "check_fits", "end", "make_accelerator", "set_seed"]
TRACKERS = ("tensorboard", "wandb", "trackio")


def make_accelerator(
    recipe: Recipe, run: Run, device: torch.device | None, trackers: Sequence[str]
) -> Accelerator:
    """An accelerator on ``device``, or the best there is. Raises VqcliError where something is not there."""
    if device and device.type == "cuda":
        torch.cuda.set_device(device)
    for tracker in trackers:
        check_tracker(tracker)
    precision = {"fp32": "no"}.get(recipe.training.precision, recipe.training.precision)
    try:
        return Accelerator(
            mixed_precision=precision,
            cpu=device is not None and device.type == "cpu",
            dynamo_backend="inductor" if recipe.training.compile else "no",
            log_with=list(trackers) or None,
            project_dir=run.folder,
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
    except (ValueError, ImportError) as e:
        raise VqcliError(
            f"cannot start: {e}", hint="vqcli doctor lists what is installed", reason="environment"
        ) from e


def check_tracker(name: str) -> None:
    """Raises VqcliError where a tracker is unknown or not installed: accelerate would leave it out."""
    if name not in TRACKERS:
        raise VqcliError(f"unknown tracker '{name}'", hint=suggestion(name, list(TRACKERS)), reason="option")
    if find_spec(name) is None:
        raise VqcliError(
            f"--track {name} needs the package {name}",
            hint=f"pip install 'vqcli[{name}]'",
            reason="missing-extra",
        )


def check_fits(recipe: Recipe, accelerator: Accelerator) -> None:
    """Raises VqcliError if the device cannot do the precision, or the batch does not divide into passes."""
    if recipe.training.precision == "fp16" and not accelerator.scaler:  # accelerate would go on in fp32
        raise VqcliError(
            f"there is no fp16 training on {accelerator.device.type}",
            hint="--precision bf16",
            reason="environment",
        )
    passes = accelerator.num_processes * recipe.training.accumulate
    if recipe.training.batch_size % passes:
        raise VqcliError(
            f"a batch of {recipe.training.batch_size} does not divide into {passes} equal passes",
            hint=f"--set training.batch_size={recipe.training.batch_size // passes * passes or passes}",
            reason="config",
        )


def end(accelerator: Accelerator) -> None:
    """End its trackers and its processes' group, to which nothing may hold on by now."""
    accelerator.free_memory()
    accelerator.end_training()
    type(accelerator.state)._reset_state(reset_partial_state=True)
