"""Where a run trains: devices, processes, precision and trackers, as accelerate sees them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, set_seed

from vqcli.errors import VqcliError, suggestion
from vqcli.training.recipe import Recipe
from vqcli.training.run import Run

__all__ = ["Accelerator", "check_fits", "end", "make_accelerator", "set_seed", "starting"]
TRACKERS = ("tensorboard", "wandb", "trackio")
ENGINES = ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP", "ACCELERATE_USE_MEGATRON_LM")
"""Variables by which a launcher asks for other ways of training."""


def make_accelerator(recipe: Recipe, run: Run, device: torch.device, trackers: Sequence[str]) -> Accelerator:
    """An accelerator on ``device``. Raises VqcliError where something is not there.

    The recipe alone says how is trained: what ``accelerate launch`` was told of that is refused or not read.
    """
    for name in ENGINES:
        if os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "y", "t", "on"):
            raise VqcliError(
                f"the launcher asks for an engine that is not used here: {name}",
                hint="launch without it; --set training.shard=true divides a generator's weights",
                reason="environment",
            )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    for tracker in trackers:
        check_tracker(tracker)
    precision = {"fp32": "no"}.get(recipe.training.precision, recipe.training.precision)
    with starting():
        return Accelerator(
            mixed_precision=precision,
            cpu=device.type == "cpu",
            dynamo_backend="inductor" if recipe.training.compile else "no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # the loop does it
            log_with=list(trackers) or None,
            project_dir=run.folder,
            kwargs_handlers=[
                DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
            ],
        )


@contextmanager
def starting() -> Iterator[None]:
    """Turn what accelerate makes of odd settings in the environment into VqcliError."""
    try:
        yield
    except (ValueError, ImportError, RuntimeError) as e:
        AcceleratorState._reset_state(reset_partial_state=True)  # else the next start finds half of one
        raise VqcliError(
            f"cannot start: {e}",
            hint="does a variable ACCELERATE_* say so? vqcli doctor lists what is installed",
            reason="environment",
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
