"""JSON files that carry the hash of what they say, and so tell when they were edited or damaged."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from operator import ne
from pathlib import Path
from typing import Any, Self

from vqcli import bounds
from vqcli.errors import VqcliError
from vqcli.files.reading import parse_json, read_bytes, read_text
from vqcli.files.writing import write_json, write_text

SEAL = "seal"
"""The last key: SHA-256 of the rest, written without spaces and with sorted keys."""
COMMENT = re.compile(r"^# seal: ([0-9a-f]{64})\n?", re.MULTILINE)
"""The same of a text, in a comment at its end."""


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with its seal."""
    rest = {name: each for name, each in value.items() if name != SEAL}
    return rest | {SEAL: seal_of(rest)}


class LongList:
    """A list as JSON text on the disk, in a file without a name: written once, and never held as a whole."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed with this)
        self._before = "["

    def add(self, values: list[Any]) -> None:
        """Add values at the end. Raises OSError."""
        if values:
            self._file.write((self._before + _text(values)[1:-1]).encode())
            self._before = ","

    def __iter__(self) -> Iterator[bytes]:
        """Its text, part by part."""
        self._file.seek(0)
        yield from iter(lambda: self._file.read(1 << 20), b"")
        yield b"]" if self._before == "," else b"[]"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()


def seal_of(values: Mapping[str, Any]) -> str:
    """The seal of a JSON object."""
    digest, before = hashlib.sha256(), "{"
    for name in sorted(values):
        digest.update(f"{before}{_text(name)}:".encode())
        value, before = values[name], ","
        for part in value if isinstance(value, LongList) else [_text(value).encode()]:
            digest.update(part)
    digest.update(b"}" if values else b"{}")
    return digest.hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


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
    last = next(reversed(value), SEAL)
    if len(last) == len(SEAL) and sum(map(ne, last, SEAL)) == 1:  # the damage is in this name
        value[SEAL] = None
    if SEAL in value and sealed(value)[SEAL] != value[SEAL]:
        hint = f"make it again; if you edited it yourself: vqcli verify --seal {path}"
        raise VqcliError(f"{path} was edited or damaged since it was written", hint=hint, reason="damaged")
    value.pop(SEAL, None)
    return value


def write_sealed_text(path: Path, text: str) -> None:
    """Write a text in which ``#`` begins a comment, with its hash in one."""
    text = COMMENT.sub("", text)
    write_text(path, f"{text}# seal: {hashlib.sha256(text.encode()).hexdigest()}\n")


def text_edited(path: Path) -> bool:
    """Whether such a text is another than was written; one without a hash is as it is. Raises VqcliError."""
    text = read_text(path)
    found = COMMENT.search(text)
    if not found:
        return False
    return hashlib.sha256(COMMENT.sub("", text).encode()).hexdigest() != found[1]


def seal(path: Path) -> bool:
    """Take an edited JSON file, or a text with its hash in a comment, as it is; False if it has none.

    Raises VqcliError if it is no JSON.
    """
    if path.suffix in (".yaml", ".yml"):
        text = read_text(path)
        if not COMMENT.search(text):
            return False
        write_sealed_text(path, text)
        return True
    data = read_bytes(path, bounds.LISTS)
    value = parse_json(data, path)
    if not isinstance(value, dict):
        return False
    write_sealed(path, value)
    return True
