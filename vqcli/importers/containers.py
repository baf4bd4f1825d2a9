"""Files of published checkpoints: told apart by their bytes, checked, and opened for their weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from vqcli.errors import VqcliError
from vqcli.importers.pickles import CONVERT, CUT, check_zip, unpickle

CONTAINERS = ("ema", "model", "module", "state_dict")
"""Keys under which files hold weights, best first: authors evaluate averages."""
WRAPPERS = ("module.", "_orig_mod.")
"""What data parallelism and compilation put before every key."""
MOST_TENSORS, LONGEST_HEADER = 50_000, 16 << 20
"""Of any file that is read, and bytes of a safetensors header."""
OTHERS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself",
    b"<": "is a web page",
    b"\x1f\x8b": "is compressed with gzip",
}
"""How files begin that are often met instead."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a file."""

    state: dict[str, Tensor]
    """By key, as the authors name them."""
    container: str
    """Where in the file they were, of ``CONTAINERS``; empty where they are all it holds."""


def read_checkpoint(path: Path) -> Checkpoint:
    """The weights of a zip or legacy file of ``torch.save``, or of a safetensors file.

    Raises VqcliError if it is damaged, no such file, holds no weights, or holds what could run code.
    """
    with _explained(path):
        with open(path, "rb") as file:
            head = file.read(200)
        if head.startswith(b"PK\x03\x04"):
            check_zip(path)
            found = unpickle(path, mmap=True)
        elif head.startswith(b"\x80"):
            found = unpickle(path, mmap=False)
        elif head[8:9] == b"{":
            check_header(path)
            with safe_open(path, "pt") as tensors:
                found = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
        else:
            kind = "is neither a file of torch.save nor of safetensors" if head else "is empty"
            kind = next((what for start, what in OTHERS.items() if head.lstrip().startswith(start)), kind)
            raise VqcliError(f"{path} {kind}", hint=CUT, reason="format")
        container, weights = weights_in(found)
        return Checkpoint(check_state(path, weights), container)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """One error for all that readers raise at hostile bytes: there is no list of what that can be."""
    try:
        yield
    except (VqcliError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as e:
        said = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise VqcliError(f"{path} cannot be read: {said}", hint=CUT, reason="damaged") from e


def check_header(path: Path) -> None:
    """Raises ValueError on a safetensors header that the library lets pass, or is slow to refuse."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(LONGEST_HEADER, path.stat().st_size - 8):
            raise ValueError(f"its header claims {length:,} bytes")
        json.loads(file.read(length), object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_TENSORS:
        raise ValueError(f"its header has {len(pairs):,} entries")
    if len(dict(pairs)) < len(pairs):
        raise ValueError("its header has a key twice")
    return dict(pairs)


def weights_in(found: Any) -> tuple[str, Any]:
    """The container in what a file holds, and the weights in there."""
    if isinstance(found, Mapping):
        for name in CONTAINERS:
            if isinstance(found.get(name), Mapping) and found[name]:
                return name, found[name]
    return "", found


def check_state(path: Path, found: Any) -> dict[str, Tensor]:
    """Weights by key, without wrappers' names. Raises VqcliError if they are none, or claim too much."""
    if not isinstance(found, Mapping) or not any(isinstance(x, Tensor) for x in found.values()):
        raise VqcliError(f"{path} holds no weights by key", hint=CONVERT, reason="layout")
    for key, tensor in found.items():
        if not (isinstance(key, str) and isinstance(tensor, Tensor)):
            raise VqcliError(f"{path}: what is under {key!r} is no tensor", hint=CONVERT, reason="layout")
    # a view can claim any size, and a tensor may stand under two names
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in found.values())
    if len(found) > MOST_TENSORS or claimed > 2 * path.stat().st_size:
        message = f"{path}: its {len(found):,} tensors claim {claimed:,} bytes, more than it can hold"
        raise VqcliError(message, hint=CUT, reason="damaged")
    state = dict(found)
    while wrapper := next((w for w in WRAPPERS if all(key.startswith(w) for key in state)), None):
        state = {key.removeprefix(wrapper): tensor for key, tensor in state.items()}
    return state
