"""Weights of model folders: read safely, checked, hashed."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from vqcli import files
from vqcli.errors import VqcliError


def weights_file(folder: Path) -> Path:
    """The network's weights; in a training checkpoint their running average, where there is one."""
    average = folder / "average.safetensors"
    return average if average.exists() else folder / "model.safetensors"


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


def count_numbers(path: Path) -> int:
    """Numbers in a weight file, by its header. Raises VqcliError if it is damaged."""
    files.verify_listed(path)
    with files.tensors(path) as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 (no mapping)
    return sum(map(math.prod, shapes))


def load_state(model: nn.Module, state: dict[str, Tensor], folder: Path) -> None:
    """Give a model all of its weights. Raises VqcliError where they do not fit it or are not finite."""
    try:
        model.load_state_dict(state)
    except RuntimeError as e:
        said = " ".join(line.strip() for line in str(e).splitlines()[1:3])
        raise VqcliError(
            f"{folder}: config.json and weights do not fit: {said}",
            hint="copy the folder again",
            reason="damaged",
        ) from e
    unfit = next(
        (name for name, x in state.items() if x.is_floating_point() and not torch.isfinite(x).all()), None
    )
    if unfit:
        raise VqcliError(
            f"{folder}: {unfit} holds NaN or Inf", hint="use an earlier checkpoint", reason="not-finite"
        )
