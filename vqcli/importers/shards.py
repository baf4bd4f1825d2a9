"""Weights in several files, of which an index tells, ``model.safetensors.index.json``. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from vqcli import bounds, files
from vqcli.errors import VqcliError

INDEX = ".index.json"
"""How names of indices end."""


def is_index(path: Path) -> bool:
    """Whether a path is called as an index is."""
    return path.name.endswith(INDEX)


def read_index(path: Path) -> dict[str, list[str]]:
    """Keys of tensors by the file that holds them; files lie beside the index.

    Raises VqcliError if it is none, names a tensor twice, or a file that is elsewhere.
    """

    def refuse(why: str) -> VqcliError:
        hint = "download it again, with the files that it names beside it"
        return VqcliError(f"{path} is no index of weights: {why}", hint=hint, reason="damaged")

    told = files.read_json(path, bounds.INDEX)
    table = told.get("weight_map") if isinstance(told, dict) else None
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise refuse("it has no weight_map of keys and files")
    found: dict[str, list[str]] = {}
    for key, name in table.items():
        if not is_beside(name):
            raise refuse(f"'{name}' is no name of a file beside it")
        found.setdefault(name, []).append(key)
    if len(found) > bounds.SHARDS:
        raise refuse(f"it names {len(found):,} files")
    return found


def is_beside(name: str) -> bool:
    """Whether a text is a file's name alone, on every system."""
    return name not in ("", ".", "..") and name.isprintable() and not set(name) & set('/\\:*?"<>|')


def parts(path: Path) -> list[Path]:
    """All files that weights are read from: the file itself, and those that an index names.

    Raises VqcliError if one of these is missing.
    """
    if not is_index(path):
        return [path]
    found = [path.with_name(name) for name in sorted(read_index(path))]
    if missing := [part.name for part in found if not files.is_file(part)]:
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        message = f"{path} names {', '.join(missing[:3])}{more}, which {path.parent} does not hold"
        hint = "bring all files that it names into one folder"
        raise VqcliError(message, hint=hint, reason="input-missing")
    return [path, *found]


def digest(path: Path) -> str:
    """SHA-256 of a file; of an index, that of the hashes of all its files. Raises VqcliError, OSError."""
    hashes = [files.sha256(part) for part in parts(path)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def check_keys(index: Path, name: str, told: Iterable[str], there: Iterable[str]) -> None:
    """Raises VqcliError unless a file holds just the tensors that the index says."""
    missing, others = set(told) - set(there), set(there) - set(told)
    if missing or others:
        key = min(missing or others)
        does = "lacks" if missing else "holds"
        says = "is there" if missing else "is not there"
        raise VqcliError(
            f"{index.with_name(name)} {does} '{key}', which {says} by {index.name}",
            hint="download all of it again: index and files are not of one model",
            reason="damaged",
        )
