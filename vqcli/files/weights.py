"""Files of safetensors: opened with their headers checked, written whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqcli import bounds
from vqcli.errors import VqcliError
from vqcli.files.reading import open_regular
from vqcli.files.refused import patiently, unread
from vqcli.files.writing import write_bytes

if TYPE_CHECKING:
    from torch import Tensor

AGAIN = "make or copy it again"
SEALED, OPEN = re.compile(rb'"seal": ?"([0-9a-f]{64})"'), b"0" * 64
"""In the header of a file that carries its hash, and what stands there while it is computed."""


@contextmanager
def tensors(path: Path, framework: str = "pt") -> Iterator[Any]:
    """An open safetensors file, as ``safetensors.safe_open`` gives it; ``framework`` is "pt" or "numpy".

    Raises VqcliError if it is damaged, or cannot be read.
    """
    from safetensors import SafetensorError

    read_header(path)
    try:
        with patiently(lambda: _opened(path, framework)) as file:
            yield _Arrays(file, path) if framework == "numpy" else file
    except SafetensorError as e:
        raise _damaged(path, str(e)) from e
    except OSError as e:
        raise unread(path, e) from e


class _Arrays:
    """An open safetensors file, all of whose tensors are such as numpy has, or damaged."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path = file, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def get_tensor(self, name: str) -> Any:
        """A tensor as an array. Raises VqcliError where numpy has none of its type, or of so many sides."""
        try:
            return self._file.get_tensor(name)
        except (AttributeError, TypeError, ValueError) as e:
            told = self._file.get_slice(name)
            said = f"{name} is {told.get_dtype()} of {len(told.get_shape())} dimensions"
            raise _damaged(self._path, said) from e


def _opened(path: Path, framework: str) -> Any:
    from safetensors import safe_open

    try:
        return safe_open(path, framework)
    except (FileNotFoundError, RuntimeError) as e:  # which the library says of all that the machine refuses
        path.stat()
        told = re.search(r"os error (\d+)", str(e))
        number = int(told[1]) if told else errno.EIO
        raise OSError(errno.EIO if number == errno.ENOENT else number, os.strerror(number), str(path)) from e


def load_tensors(path: Path, framework: str = "pt") -> dict[str, Any]:
    """All tensors of a safetensors file. Raises VqcliError if it is damaged, or cannot be read."""
    with tensors(path, framework) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)


def load_sealed(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """All tensors and the metadata of a file that carries its hash; those of older versions have none.

    Raises VqcliError if it is another than was written, or cannot be read.
    """
    check_seal(path)
    with tensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def check_seal(path: Path) -> bool:
    """Whether a safetensors file carries its hash. Raises VqcliError if it has another one."""
    read_header(path)
    with open_regular(path) as file:
        try:
            length = file.read(8)
            header = file.read(int.from_bytes(length, "little"))
            found = SEALED.search(header)
            if not found:
                return False
            digest = hashlib.sha256(length + header[: found.start(1)] + OPEN + header[found.end(1) :])
            hashlib.file_digest(file, lambda: digest)
        except OSError as e:
            raise unread(path, e) from e
    if digest.hexdigest().encode() != found[1]:
        raise _damaged(path, "its hash is not the one that it carries")
    return True


def seal_tensors(data: bytes) -> bytes:
    """A safetensors file with its hash in place of the zeros under ``seal`` of its metadata."""
    return data.replace(OPEN, hashlib.sha256(data).hexdigest().encode(), 1)


def read_header(path: Path) -> dict[str, Any]:
    """What the header of a safetensors file says; whether that fits the rest of the file, the library knows.

    Raises VqcliError on one that the library lets pass, or is slow to refuse.
    """
    with open_regular(path) as file:
        try:
            length = int.from_bytes(file.read(8), "little")
            if length > min(bounds.HEADER, path.stat().st_size - 8) or length < 2:
                raise _damaged(path, f"its header claims {length:,} bytes")
            told = json.loads(file.read(length), object_pairs_hook=_unique)
        except OSError as e:
            raise unread(path, e) from e
        except (ValueError, RecursionError) as e:
            raise _damaged(path, str(e)) from e
    if not isinstance(told, dict):
        raise _damaged(path, "its header is no JSON object")
    return told


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > bounds.TENSORS:
        raise ValueError(f"its header has {len(pairs):,} entries")
    if len(dict(pairs)) < len(pairs):
        raise ValueError("its header has a key twice")
    return dict(pairs)


def _damaged(path: Path, said: str) -> VqcliError:
    return VqcliError(f"{path} cannot be read: {said}", hint=AGAIN, reason="damaged")


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    seal: bool = False,
) -> None:
    """Write a safetensors file; ``seal``: it carries its hash, for ``load_sealed``."""
    from safetensors.torch import save

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    told = dict(metadata or {}) | ({"seal": OPEN.decode()} if seal else {})
    data = save(whole, told or None)
    write_bytes(path, seal_tensors(data) if seal else data)
