"""What a model folder holds, and whether it is whole. Others' files in it are left alone."""

from __future__ import annotations

import math
import re
from pathlib import Path

from vqcli import files
from vqcli.errors import VqcliError

CARD, MANIFEST = "README.md", "manifest.json"
PART = r"(?:config|usage|manifest|classes|import)\.json|README\.md|[\w.-]+\.safetensors"
OURS = re.compile(rf"(?:tokenizer/)?(?:{PART})")
"""What a model folder on the Hub may hold; nothing else is fetched or sent."""


def check_whole(folder: Path) -> None:
    """Raises VqcliError if a file is not what the folder's manifest says; the card may have been edited."""
    path = folder / MANIFEST
    told = files.read_sealed(path) if path.is_file() else {"files": {}}
    listed = told.get("files")
    if not isinstance(listed, dict):
        hint = "export, import or pull the model again"
        raise VqcliError(f"{path} is no list of files", hint=hint, reason="damaged")
    for name, facts in listed.items():
        there, digest = folder / name, facts.get("sha256") if isinstance(facts, dict) else None
        if OURS.fullmatch(name) and name != CARD and not (there.is_file() and files.hash_of(there) == digest):
            message = f"{there} is missing or is not what {MANIFEST} says"
            raise VqcliError(message, hint="export, import or pull the model again", reason="damaged")


def model_files(folder: Path) -> list[str]:
    """Names in a model folder that belong to it, below it too."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if OURS.fullmatch(name))


def tokenizer_files(tokenizer: Path) -> dict[str, Path]:
    """The files that a generator's folder holds of its tokenizer's folder, by their names there.

    Raises VqcliError where ``check_whole`` does.
    """
    check_whole(tokenizer)
    return {f"tokenizer/{name}": tokenizer / name for name in model_files(tokenizer) if name != MANIFEST}


def copy_tokenizer(tokenizer: Path, folder: Path) -> None:
    """Put a tokenizer's folder into a generator's. Raises VqcliError where ``check_whole`` does."""
    for name, path in tokenizer_files(tokenizer).items():
        files.write_copy(folder / name, path)


def count_numbers(path: Path) -> int:
    """Numbers in a weight file, by its header. Raises VqcliError if it is damaged. No torch."""
    files.verify_listed(path)
    with files.tensors(path, "numpy") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 (no mapping)
    return sum(map(math.prod, shapes))
