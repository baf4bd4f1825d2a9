"""Files of published checkpoints: told apart by their bytes, checked, and opened for their weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vqcli import bounds, files
from vqcli.errors import VqcliError
from vqcli.importers.pickles import CONVERT, CUT, LEGACY, check_operations, check_zip, unpickle
from vqcli.importers.shards import check_keys, is_index, parts, read_index

CONTAINERS = (
    *("model", "module", "state_dict", "model_state_dict", "model_state", "net", "network", "params"),
    *("vqvae", "vq_model", "vqgan", "tokenizer", "first_stage_model", "vae", "autoencoder", "ae"),
    *("generator", "g", "weights", "var_wo_ddp"),
)
"""Names under which files hold weights, best first. Before all go averages: authors evaluate those."""
AVERAGED = re.compile(r"(?:^|[._\W])(?:ema|averaged?|shadow)(?=[._\W]|$)", re.IGNORECASE)
"""What names of running averages have in them as a word: ``model_ema``, ``params_ema``, ``ema.shadow``."""
WRAPPED = re.compile(
    r"(?:(?<=\.)|^)(?:module|_orig_mod|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
"""What data parallelism, compilation and sharding put before the keys of a model or of a part of it."""
DEEPEST, MOST_LISTED = 3, 8
"""Containers that lie in each other, and places of a list that are looked at."""
UNPACK, ELSEWHERE = "unpack it first", "save its weights where it was made, as a .pt or .safetensors file"
OTHERS = {
    b"version https://git-lfs": ("is a pointer of Git LFS, not the file itself", "git lfs pull fetches that"),
    b"<": ("is a web page", "download the file itself: the link may lead to a page about it"),
    b"\x1f\x8b": ("is compressed with gzip", UNPACK),
    b"BZh": ("is compressed with bzip2", UNPACK),
    b"\xfd7zXZ": ("is compressed with xz", UNPACK),
    b"(\xb5/\xfd": ("is compressed with zstd", UNPACK),
    b"7z\xbc\xaf": ("is a 7z archive", UNPACK),
    b"Rar!": ("is a RAR archive", UNPACK),
    b"\x89HDF": ("is an HDF5 file, as Keras writes", ELSEWHERE),
    b"\x93NUMPY": ("is an array of numpy", ELSEWHERE),
    b"GGUF": ("is a GGUF file", ELSEWHERE),
}
"""How files begin that are often met instead, what they are, and what helps."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a file."""

    state: dict[str, Tensor]
    """By key, as the authors name them."""
    container: str
    """Where in the file they were, such as ``ema`` or ``trainer.vae``; empty where they are all it holds."""


def read_checkpoint(path: Path) -> Checkpoint:
    """The weights of a file that are most likely meant. Raises VqcliError as ``read_checkpoints``."""
    return read_checkpoints(path)[0]


def read_checkpoints(path: Path) -> list[Checkpoint]:
    """All weights of a file, those that are most likely meant first.

    The file is a zip or legacy file of ``torch.save``, one of safetensors, or an index of several.
    Raises VqcliError if it is damaged, no such file, holds no weights, or holds what could run code.
    """
    with _explained(path):
        found, size = _load(path)
        places = sorted(weights_in(found), key=lambda place: _rank(*place)) or [("", found)]
        first = check_state(path, places[0][1], places[0][0], size)
        others = []
        for where, weights in places[1:]:
            with suppress(VqcliError):  # what is meant is good: the rest need not be weights
                others.append(check_state(path, weights, where, size))
        return [first, *(other for other in others if other.state)]


def _load(path: Path) -> tuple[Any, int]:
    """What a file or all files of an index hold, and their bytes."""
    if not is_index(path):
        return _load_one(path), path.stat().st_size
    whole: dict[str, Any] = {}
    parts(path)  # all are there
    for name, keys in read_index(path).items():
        shard = path.with_name(name)
        with _explained(shard):
            found = _load_one(shard)
        check_keys(path, name, keys, found if isinstance(found, Mapping) else ())
        whole |= found
    return whole, sum(part.stat().st_size for part in parts(path))


def _load_one(path: Path) -> Any:
    with files.open_regular(path) as file:
        head = file.read(200)
    if head.startswith(b"PK\x03\x04"):
        with files.within(path, path.stat().st_size, CUT):
            check_zip(path)
            return unpickle(path, mmap=True)
    if head.startswith(b"\x80"):
        with files.within(path, path.stat().st_size, CUT), files.open_regular(path) as file:
            check_operations(path, file, LEGACY)
            return unpickle(path, mmap=False)
    if head[8:9] == b"{":
        return files.load_tensors(path)
    kind = "is neither a file of torch.save nor of safetensors" if head else "is empty"
    known = (what for start, what in OTHERS.items() if head.lstrip().startswith(start))
    kind, hint = next(known, (kind, CUT))
    raise VqcliError(f"{path} {kind}", hint=hint, reason="format")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """One error for all that readers raise at hostile bytes: there is no list of what that can be."""
    try:
        yield
    except VqcliError:
        raise
    except Exception as e:
        if told := files.os_error(e):
            raise files.unread(path, told) from e
        said = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise VqcliError(f"{path} cannot be read: {said}", hint=CUT, reason="damaged") from e


def weights_in(found: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All places in what a file holds that have tensors by key, with their names."""
    places: list[tuple[str, Any, int]] = [("", found, 0)]
    seen = set()
    for where, place, depth in places:
        value = place
        if isinstance(place, list | tuple):
            value = {f"{i}": inside for i, inside in enumerate(place[:MOST_LISTED])}
        if not isinstance(value, Mapping) or id(place) in seen:
            continue
        seen.add(id(place))  # many names may lead to one place
        if any(isinstance(key, str) and isinstance(inside, Tensor) for key, inside in value.items()):
            yield where, value
        if depth < DEEPEST:
            inner = [(name, inside) for name, inside in value.items() if isinstance(name, str)]
            places += [(f"{where}.{name}" if where else name, inside, depth + 1) for name, inside in inner]


def _rank(where: str, weights: Mapping[str, Any]) -> tuple[bool, int, int, int]:
    """Averages, then known names, then most tensors; what lies higher goes before what lies in it."""
    names = [name.lower() for name in where.split(".")]
    known = min((CONTAINERS.index(name) for name in names if name in CONTAINERS), default=len(CONTAINERS))
    known = known + 1 if where and known == len(CONTAINERS) else known
    return not AVERAGED.search(where), known, -len(weights), len(names)


def check_state(path: Path, found: Any, where: str, size: int) -> Checkpoint:
    """Weights by key, without wrappers' names. Raises VqcliError if they are none, or claim too much.

    ``where`` is their container, and ``size`` the bytes of the file.
    """
    if not isinstance(found, Mapping) or not any(isinstance(x, Tensor) for x in found.values()):
        raise VqcliError(f"{path} holds no weights by key", hint=CONVERT, reason="layout")
    state = {key: x for key, x in found.items() if not (isinstance(key, str) and _is_beside(key, x))}
    for key, tensor in state.items():
        if not (isinstance(key, str) and isinstance(tensor, Tensor)):
            raise VqcliError(f"{path}: what is under {key!r} is no tensor", hint=CONVERT, reason="layout")
        if tensor.is_meta:
            message = f"{path}: {key!r} has a shape and no values: it was saved from the device 'meta'"
            raise VqcliError(message, hint="save it where its weights are loaded", reason="layout")
    # a view can claim any size, and a tensor may stand under two names
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if len(state) > bounds.TENSORS or claimed > 2 * size:
        message = f"{path}: its {len(state):,} tensors claim {claimed:,} bytes, more than it can hold"
        raise VqcliError(message, hint=CUT, reason="damaged")
    plain = {WRAPPED.sub("", key): tensor for key, tensor in state.items()}
    return Checkpoint(plain if len(plain) == len(state) else state, where)


def _is_beside(key: str, value: Any) -> bool:
    """Whether what stands among weights is none: those belong to a part, whose name is followed by a dot."""
    counter = isinstance(value, Tensor) and not value.ndim
    return key.endswith("_extra_state") or ("." not in key and (counter or not isinstance(value, Tensor)))
