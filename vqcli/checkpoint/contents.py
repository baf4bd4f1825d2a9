"""What a model folder holds, and whether it is whole. Others' files in it are left alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from vqcli import files
from vqcli.checkpoint.folder import TOKENIZER, kind_of
from vqcli.errors import VqcliError

CARD, MANIFEST = "README.md", "manifest.json"
PART = r"(?:config|usage|manifest|classes|import)\.json|README\.md|[\w.-]+\.safetensors"
OURS = re.compile(rf"(?:tokenizer/)?(?:{PART})")
"""What a model folder on the Hub may hold; nothing else is fetched or sent."""
NAMES = frozenset({"config.json", "usage.json", "classes.json", "import.json", "prune.json", CARD, MANIFEST})
WEIGHTS = frozenset({"model.safetensors", "codebook.safetensors"})
"""What vqcli itself writes into a model folder; ``tokenizer/`` holds the same."""
BLOB = re.compile(r"(?:\.\./){2,3}blobs/([0-9a-f]{40}|[0-9a-f]{64})")
"""Where links of the Hub's client lead: it keeps the bytes of a snapshot's files beside all snapshots."""


def check_whole(folder: Path) -> None:
    """Raises VqcliError if a file is not what the folder's manifest says; the card may have been edited."""
    for name, facts in (_listed(folder) or {}).items():
        there, digest = folder / name, facts.get("sha256") if isinstance(facts, dict) else None
        if not OURS.fullmatch(name) or name == CARD:
            continue
        if not (files.is_file(there) and files.hash_of(there) == digest):
            message = f"{there} is missing or is not what {MANIFEST} says"
            raise VqcliError(message, hint="export, import or pull the model again", reason="damaged")


def replaceable(folder: Path) -> bool:
    """Whether a folder is a model's, damaged or not, and holds nothing else, which would be lost with it.

    Raises VqcliError where it cannot be listed.
    """
    found = {path.name: path for path in files.children(folder)}
    known = {*NAMES, *WEIGHTS, *(name for name in found if name.startswith(files.TEMPORARY))}
    with suppress(VqcliError):
        known |= set(_listed(folder) or {})
    tokenizer = found.pop(TOKENIZER, None)
    nested = (
        {path.name for path in files.children(tokenizer)}
        if tokenizer and files.is_folder(tokenizer)
        else set()
    )
    ours = bool({MANIFEST, "import.json"} & found.keys()) or _tells_kind(folder)
    return ours and found.keys() <= known and nested <= {*NAMES, *WEIGHTS}


def _tells_kind(folder: Path) -> bool:
    try:
        kind_of(folder)
    except VqcliError:
        return False
    return True


def _listed(folder: Path) -> dict[str, Any] | None:
    """What a folder's manifest says of its files, by name; None without one. Raises VqcliError."""
    path = folder / MANIFEST
    if not files.is_file(path):
        return None
    listed = files.read_sealed(path).get("files")
    if not isinstance(listed, dict):
        hint = "export, import or pull the model again"
        raise VqcliError(f"{path} is no list of files", hint=hint, reason="damaged")
    return listed


def relist(folder: Path, names: Iterable[str]) -> None:
    """Put what some files are now into a folder's manifest, if it has one; of others it tells what it told.

    Raises VqcliError where ``check_whole`` may.
    """
    listed = _listed(folder)
    if listed is None:
        return
    for path in (folder / name for name in names):
        facts = {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
        listed[path.relative_to(folder).as_posix()] = facts
    files.write_sealed(folder / MANIFEST, {"files": dict(sorted(listed.items()))})


def model_files(folder: Path) -> list[str]:
    """Names in a model folder that belong to it, below it too: its card, its manifest and what that lists.

    Without a manifest, all of our names. Raises VqcliError if the manifest is damaged.
    """
    listed = _listed(folder)
    names = (path.relative_to(folder).as_posix() for path in files.below(folder))
    if listed is not None:
        names = (name for name in (*listed, CARD, MANIFEST) if files.is_file(folder / name))
    return sorted({name for name in names if OURS.fullmatch(name)})


def open_file(folder: Path, name: str) -> BufferedReader:
    """A file of a model folder that is to be passed on. Raises VqcliError where it is a link.

    Those of the Hub's client, to the bytes that it keeps beside its snapshots, are none in this sense.
    """
    path = folder / name
    kept = folder.parent.name == "snapshots" and path.is_symlink()
    if kept and (found := BLOB.fullmatch(str(path.readlink()))):
        return files.open_inside(folder.parent.parent, f"blobs/{found[1]}")
    return files.open_inside(folder, name)


def copy_file(folder: Path, name: str, to: Path) -> None:
    """Copy a file of a model folder. Raises VqcliError where ``open_file`` does."""
    with open_file(folder, name) as file:
        files.write_copy(to, file)


def tokenizer_files(tokenizer: Path) -> list[str]:
    """Names of the files of a tokenizer's folder that a generator's holds too, below ``tokenizer/``.

    Raises VqcliError where ``check_whole`` does.
    """
    check_whole(tokenizer)
    return [name for name in model_files(tokenizer) if name != MANIFEST]


def copy_tokenizer(tokenizer: Path, folder: Path) -> None:
    """Put a tokenizer's folder into a generator's.

    Raises VqcliError where ``check_whole`` and ``open_file`` do.
    """
    for name in tokenizer_files(tokenizer):
        copy_file(tokenizer, name, folder / "tokenizer" / name)


def count_numbers(path: Path) -> int:
    """Numbers in a weight file, by its header. Raises VqcliError if it is damaged. No torch."""
    if files.verify_listed(path):  # what vqcli wrote is as the library wants it, which takes numpy
        told = files.read_header(path)
        return sum(math.prod(told[name]["shape"]) for name in told if name != "__metadata__")
    with files.tensors(path, "numpy") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 (no mapping)
    return sum(map(math.prod, shapes))
