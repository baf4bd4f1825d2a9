"""Training state on disk: safetensors for tensors, JSON for scalars, nothing pickled.

A checkpoint holds ``config.json`` and ``model.safetensors`` as a model folder does (unbaked), other parts as
``PART.safetensors``, optimizer tensors, the running average, RNG bytes and ``state.json``.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

import vqcli
from vqcli import files
from vqcli.config import leaves
from vqcli.errors import VqcliError
from vqcli.nn.fast import compiles
from vqcli.training.recipe import Recipe, parse_recipe
from vqcli.training.shard import placed


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and counters, as ``PARAMETER.NAME``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{i}.{name}": torch.as_tensor(value) for i, values in state.items() for name, value in values.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Take ``optimizer_tensors`` back, spread as the parameters are; rates and betas stay the recipe's."""
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        if tensor.dim() and tensor.shape != parameter.shape:
            raise ValueError(f"moments {tuple(tensor.shape)} are not of weights {tuple(parameter.shape)}")
        state.setdefault(int(index), {})[name] = placed(tensor, parameter)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def rng_tensors() -> dict[str, Tensor]:
    """Random states of this process."""
    states = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["rng.cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        states["rng.mps"] = torch.mps.get_rng_state()
    return states


def load_rng(tensors: dict[str, Tensor]) -> None:
    """Take ``rng_tensors`` back."""
    torch.set_rng_state(tensors["rng.cpu"].clone())  # of a view into a larger tensor, torch reads other bytes
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"].clone())
    if "rng.mps" in tensors and torch.backends.mps.is_available():
        torch.mps.set_rng_state(tensors["rng.mps"].clone())


def gathered(accelerator: Accelerator, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of every process, a row each. A collective call."""
    return {k: accelerator.gather(x[None].to(accelerator.device)).cpu() for k, x in tensors.items()}


def environment(accelerator: Accelerator) -> dict[str, Any]:
    """What a bit-exact continuation needs to be the same."""
    on_gpu = accelerator.device.type == "cuda"
    return {
        "vqcli": vqcli.__version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "device": accelerator.device.type,
        "threads": torch.get_num_threads(),
        "processes": accelerator.num_processes,
        "compiled": compiles(False, by="triton") if on_gpu else compiles(),  # sums are rounded otherwise
    }


def check_same(stored: dict[str, Any], current: dict[str, Any], what: str) -> None:
    """Raises VqcliError that lists every difference."""
    changed = [
        f"{k} {stored.get(k)} -> {current.get(k)}"
        for k in sorted({*stored, *current})
        if stored.get(k) != current.get(k)
    ]
    if changed:
        raise VqcliError(
            f"{what} changed since the checkpoint: {', '.join(changed)}",
            hint="restore it, or continue without bit-exactness: --accept-changes",
            reason="changed",
        )


def load_module(module: nn.Module, path: Path) -> None:
    """Load weights, every one of them. Raises VqcliError that names what does not fit."""
    own, found = module.state_dict(), files.load_tensors(path)
    try:
        module.load_state_dict({k: placed(x, own.get(k, x)) for k, x in found.items()})
    except RuntimeError as e:
        first = str(e).strip().splitlines()
        raise VqcliError(
            f"{path}: {' '.join(s.strip() for s in first[:3])}",
            hint="is it of this recipe?",
            reason="damaged",
        ) from e


def with_defaults(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """Stored ``fixed_settings`` with the options that have come since, at their defaults."""
    raw: dict[str, Any] = {}
    for key, value in settings.items():
        *path, last = key.split(".")
        section = raw
        for step in path:
            section = section.setdefault(step, {})
        section[last] = value
    return fixed_settings(parse_recipe(raw, name))


def fixed_settings(recipe: Recipe) -> dict[str, Any]:
    """The recipe as ``a.b`` -> value, without what may change on resume: steps, logging, workers."""
    raw = recipe.model_dump(mode="json")
    for key in (
        "steps",
        "log_every",
        "sample_every",
        "validate_every",
        "validation_images",
        "checkpoint_every",
        "keep",
    ):
        del raw["training"][key]
    del raw["data"]["num_workers"]
    for loss in raw.get("losses", {}).values():
        loss.pop("weights", None)  # where a network's weights lie; that they are the same is checked
    return dict(leaves(raw))
