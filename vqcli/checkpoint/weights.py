"""Weights of model folders: read safely, checked, hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.nn.meta import allocate
from vqcli.nn.precision import is_finite

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Types that weights are kept in; those of fewer bits mean nothing without a scale that goes with them."""


def weights_file(folder: Path) -> Path:
    """The network's weights; in a training checkpoint their running average, where there is one."""
    average = folder / "average.safetensors"
    return average if files.is_there(average) else folder / "model.safetensors"


def hash_of(tensors: dict[str, Tensor], fields: str = "") -> str:
    """SHA-256 of text and of tensors: names, shapes, and values in float32."""
    digest = hashlib.sha256(fields.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_tensors(path: Path, fingerprint: str) -> dict[str, Tensor]:
    """The tensors of a file. Raises VqcliError if it is damaged or another model's."""
    with files.tensors(path) as file:
        made_for = (file.metadata() or {}).get("fingerprint", fingerprint)
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    if made_for != fingerprint:
        wrong = f"{path} belongs to another model than config.json"
        raise VqcliError(wrong, hint="copy the folder again", reason="damaged")
    files.verify_listed(path)
    return state


def load_state(model: nn.Module, state: dict[str, Tensor], folder: Path) -> None:
    """Give a model on the meta device all of its weights: it takes memory for them alone, whatever its
    configuration asks for. Raises VqcliError where they do not fit it or are not finite.
    """
    wanted = model.state_dict()
    said = ""
    if missing := wanted.keys() - state.keys():
        said = f"no {min(missing)}" + _more(missing)
    elif unknown := state.keys() - wanted.keys():
        said = f"nothing is called {min(unknown)}" + _more(unknown)
    elif odd := [name for name, x in state.items() if not _alike(x.dtype, wanted[name].dtype)]:
        said = f"{odd[0]} is {_kind(state[odd[0]])}, not {_kind(wanted[odd[0]])}" + _more(odd)
    elif other := [name for name, x in state.items() if x.shape != wanted[name].shape]:
        said = f"{other[0]} is {_sides(state[other[0]])}, not {_sides(wanted[other[0]])}" + _more(other)
    if said:
        message = f"{folder}: config.json and weights do not fit: {said}"
        raise VqcliError(message, hint="copy the folder again", reason="damaged")
    allocate(model)
    model.load_state_dict(state)
    unfit = next((name for name, x in state.items() if not is_finite(x)), None)
    if unfit:
        raise VqcliError(
            f"{folder}: {unfit} holds NaN or Inf", hint="use an earlier checkpoint", reason="not-finite"
        )


def _alike(found: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether numbers of one type are what a network means by another: of parts of numbers, few are."""
    return found == wanted or (found in FLOATS and wanted in FLOATS)


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _more(names: Collection[str]) -> str:
    return f", and {len(names) - 1:,} more" if len(names) > 1 else ""


def _sides(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
