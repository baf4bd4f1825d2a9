"""Checkpoints of a run: everything a bit-exact continuation needs, written and taken back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.training.assembly import Assembly
from vqcli.training.shard import whole
from vqcli.training.state import (
    check_same,
    environment,
    fixed_settings,
    gathered,
    load_module,
    load_optimizer,
    load_rng,
    optimizer_tensors,
    rng_tensors,
    with_defaults,
)


def save(trainer: Assembly) -> None:
    """Write a checkpoint. A collective call."""
    own = rng_tensors() | {f"task.{k}": v for k, v in trainer.task.tensors().items()}
    tensors = gathered(trainer.accelerator, own | trainer.window.tensors())
    rejected, main = trainer.rejections(), trainer.accelerator.is_main_process
    written = trainer.run.checkpoint(trainer.step, trainer.recipe.training.keep) if main else nullcontext()
    with written as folder:
        for name, each in _learned(trainer):
            whole_each = whole(each, keep=main)
            if folder:
                files.write_tensors(folder / f"{name}.safetensors", whole_each)
        if folder:
            _write(trainer, folder, tensors, rejected)
    trainer.accelerator.wait_for_everyone()
    trainer.saved = trainer.step


def _learned(trainer: Assembly) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Weights, moments and averages by the names of their files, spread where the model is."""
    for part, module in trainer.modules.items():
        yield part, module.state_dict()
        yield f"{part}.optimizer", optimizer_tensors(trainer.optimizers[part].optimizer)
    if trainer.average is not None:
        yield "average", trainer.average.module.state_dict()


def _write(trainer: Assembly, folder: Path, tensors: dict[str, Tensor], rejected: list[str]) -> None:
    trainer.task.describe(trainer.modules["model"], folder)
    files.write_tensors(folder / "state.safetensors", tensors)
    scaler = trainer.accelerator.scaler
    state = {
        "step": trainer.step,
        "rejected": rejected,
        "scaler": scaler.state_dict() if scaler else {},
        "settings": fixed_settings(trainer.recipe),
        "environment": environment(trainer.accelerator),
        "data": trainer.data.identity,
        "networks": trainer.task.identity(),
        "sittings": trainer.sittings,
        "seconds": trainer.seconds if math.isfinite(trainer.seconds) else None,
    }
    files.write_json(folder / "state.json", state)


STATE = {"step": int, "rejected": list, "settings": dict, "environment": dict, "data": dict}
"""What every version has written of a run's state, beside tensors."""


def read_state(path: Path) -> dict[str, Any]:
    """What a checkpoint tells beside tensors. Raises VqcliError if it tells less."""
    state = files.read_json(path)
    for name, kind in STATE.items():
        if not (isinstance(state, dict) and isinstance(state.get(name), kind)):
            message = f"{path} is no state of a run: {name} is missing in it, or of another kind"
            raise VqcliError(message, hint="copy the run again", reason="damaged")
    return dict(state)


def restore(trainer: Assembly, folder: Path, *, accept_changes: bool) -> None:
    """Continue from a checkpoint. Raises VqcliError if recipe, environment or data changed, or it is none."""
    try:
        _restore(trainer, folder, accept_changes=accept_changes)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as e:
        message = f"{folder} is no checkpoint of this recipe: {type(e).__name__}: {e}"
        raise VqcliError(message, hint="copy the run again", reason="damaged") from e


def _restore(trainer: Assembly, folder: Path, *, accept_changes: bool) -> None:
    state, accelerator = read_state(folder / "state.json"), trainer.accelerator
    if not accept_changes:
        stored = with_defaults(state["settings"], str(folder / "state.json"))
        check_same(stored, fixed_settings(trainer.recipe), "the recipe")
        now = environment(accelerator)
        stored = {"compiled": now["compiled"]} | state["environment"]  # older ones do not tell
        check_same(stored, now, "the environment")
        check_same(state["data"], trainer.data.identity, "the training images")
        check_same(state.get("networks", {}), trainer.task.identity(), "what losses compare with")
    if state["step"] > trainer.steps:
        raise VqcliError(
            f"{folder} is past {trainer.steps} steps",
            hint="ask for more steps",
            reason="config",
        )
    trainer.task.recall(folder, trainer.progress)
    trainer.step = trainer.saved = state["step"]
    trainer.rejected = set(state["rejected"])
    seconds = state.get("seconds")  # older ones do not tell
    trainer.before, trainer.sittings = math.nan if seconds is None else seconds, state.get("sittings", 1)
    for part, module in trainer.modules.items():
        if not files.exists(folder / f"{part}.safetensors"):
            raise VqcliError(
                f"{folder} has no {part}, which the recipe now asks for",
                hint=f"start a new run from its weights: --init {trainer.run.folder}",
                reason="changed",
            )
        load_module(module, folder / f"{part}.safetensors")
        moments = files.load_tensors(folder / f"{part}.optimizer.safetensors")
        load_optimizer(trainer.optimizers[part].optimizer, moments)
    if trainer.average is not None:
        load_module(trainer.average.module, folder / "average.safetensors")
        trainer.average.updates = trainer.step
    rows = files.load_tensors(folder / "state.safetensors")
    row = min(accelerator.process_index, len(rows["rng.cpu"]) - 1)
    own = {name: x[row] for name, x in rows.items()}
    trainer.task.load_tensors({k.removeprefix("task."): v for k, v in own.items() if k.startswith("task.")})
    trainer.window.load_tensors(own, accelerator.device)
    if accelerator.scaler:
        accelerator.scaler.load_state_dict(state["scaler"])
    if trainer.finished:
        return
    trainer.sittings += 1
    if accelerator.is_main_process:
        trainer.run.forget_after(trainer.step, trainer.progress.say)
        trainer.run.let_go(folder, trainer.recipe.training.keep)  # a kill can come between a new one and this
    load_rng(own)
