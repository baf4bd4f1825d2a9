"""JSON files that carry the hash of what they say, and so tell when they were edited or damaged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from vqcli import bounds
from vqcli.errors import VqcliError
from vqcli.files.reading import parse_json, read_bytes
from vqcli.files.writing import write_json

SEAL = "seal"
"""The last key: SHA-256 of the rest, written without spaces and with sorted keys."""


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with its seal."""
    rest = {name: each for name, each in value.items() if name != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return rest | {SEAL: hashlib.sha256(text.encode()).hexdigest()}


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object, indented, with its seal."""
    write_json(path, sealed(value))


def read_sealed(path: Path, most: int = bounds.TEXT) -> dict[str, Any]:
    """The JSON object of a file, without its seal. Raises VqcliError if it is another than was sealed."""
    return parse_sealed(read_bytes(path, most), path)


def parse_sealed(data: bytes, path: str | Path) -> dict[str, Any]:
    """The JSON object that a file's bytes hold, as ``read_sealed``; those of older versions have no seal."""
    value = parse_json(data, path)
    if not isinstance(value, dict):
        raise VqcliError(f"{path} holds no JSON object", hint="make it again", reason="damaged")
    if SEAL in value and sealed(value)[SEAL] != value[SEAL]:
        hint = f"make it again; if you edited it yourself: vqcli verify --seal {path}"
        raise VqcliError(f"{path} was edited or damaged since it was written", hint=hint, reason="damaged")
    value.pop(SEAL, None)
    return value
