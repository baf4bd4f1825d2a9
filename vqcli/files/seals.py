"""JSON files that carry the hash of what they say, and so tell when they were edited or damaged."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from operator import ne
from pathlib import Path
from typing import IO, Any

from vqcli import bounds
from vqcli.errors import VqcliError
from vqcli.files.lists import Fits, Lines, LongList, compact, with_lines
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


def seal_of(values: Mapping[str, Any]) -> str:
    """The seal of a JSON object."""
    digest, before = hashlib.sha256(), "{"
    for name in sorted(values):
        digest.update(f"{before}{compact(name)}:".encode())
        value, before = values[name], ","
        for part in value.compact() if isinstance(value, LongList | Lines) else [compact(value).encode()]:
            digest.update(part)
    digest.update(b"}" if values else b"{}")
    return digest.hexdigest()


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


def read_sealed_lists(path: Path, lists: Mapping[str, Fits]) -> dict[str, Any] | None:
    """As ``read_sealed``, where those ``lists`` are written a value a line: they are ``Lines``, and unparsed.

    None where they are not, or the file is another than was sealed, which ``read_sealed`` tells.
    """
    try:
        value = with_lines(path, lists)
    except VqcliError as e:
        if e.reason == "os":
            raise
        return None
    told = value and value.pop(SEAL, None)
    return value if value and seal_of(value) == told else None


def write_lists(file: IO[bytes], head: dict[str, Any], lists: Mapping[str, LongList]) -> str:
    """Write a sealed JSON object with long lists, a value a line; returns its seal."""
    file.write(json.dumps(head, indent=1, allow_nan=False)[:-2].encode())
    for name, values in lists.items():
        file.write(f',\n "{name}": '.encode())
        file.writelines(values.lines())
    told = seal_of({**head, **lists})
    file.write(f',\n "{SEAL}": "{told}"\n}}\n'.encode())
    return told


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
