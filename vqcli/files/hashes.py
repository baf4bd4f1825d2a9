"""SHA-256 of files: computed once for what a file is, and remembered."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from vqcli.errors import VqcliError
from vqcli.files.cleaning import clean
from vqcli.files.reading import open_regular, read_json
from vqcli.files.refused import unread
from vqcli.files.seals import read_sealed, write_sealed
from vqcli.files.there import exists

NESTED, MANIFEST = "tokenizer", "manifest.json"
"""In a folder: size and hash of every file of it, sealed."""
CACHE = "VQCLI_CACHE"
"""Names the folder of what is kept between commands and can be made again."""
ANEW = "VQCLI_VERIFY"
"""Where it is set, everything is hashed anew."""
KIND = "hashes-1"
"""Folder of the cache."""
WORTH = 4 << 20
"""Bytes from which a file's hash is remembered: smaller ones are hashed as fast as a memory is read."""
STILL = 2.0
"""Seconds for which a file must have been unchanged: clocks of file systems are too coarse to tell of later
changes."""


def sha256(path: Path) -> str:
    """Hash of a file's bytes. Raises VqcliError if they cannot be read."""
    import hashlib

    with open_regular(path) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as e:
            raise unread(path, e) from e


def hash_of(path: Path, *, again: bool = False) -> str:
    """SHA-256 of a file, remembered by its device, inode, size and times of change; ``again`` computes it.

    Raises VqcliError if it cannot be read.
    """
    try:
        facts = path.stat()
    except OSError as e:
        raise unread(path, e) from e
    state = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]
    memory = None
    if facts.st_size >= WORTH:
        with suppress(VqcliError):  # without a home there is no cache
            memory = cache_folder() / KIND / f"{facts.st_dev}-{facts.st_ino}.json"
    if memory and not again and not os.environ.get(ANEW):
        with suppress(VqcliError):
            known = read_sealed(memory)
            if known.get("state") == state:
                return str(known["sha256"])
    digest = sha256(path)
    if memory and time.time() - facts.st_ctime > STILL:
        with suppress(VqcliError, OSError):  # a cache that cannot be written costs time alone
            later = path.stat()
            if [later.st_size, later.st_mtime_ns, later.st_ctime_ns] == state:
                write_sealed(memory, {"state": state, "sha256": digest})
                clean(memory.parent)
    return digest


def verify_listed(path: Path) -> bool:
    """Whether the manifest of a file's folder, or of the model whose ``tokenizer`` that is, lists it.

    Raises VqcliError if it does, and the file is another; one that it does not list is as it is.
    """
    for folder in path.parents[: 2 if path.parent.name == NESTED else 1]:
        manifest = folder / MANIFEST
        if exists(manifest) or manifest.is_symlink():
            break
    else:
        return False
    listed = None
    try:
        listed = read_sealed(manifest)["files"].get(path.relative_to(folder).as_posix())
        right = listed is None or listed["sha256"] == hash_of(path)
    except (KeyError, TypeError, AttributeError):
        right = False
    if not right:
        message = f"{path} is not what {manifest.name} says: it was edited or damaged"
        hint = f"copy or make the folder again; if you edited it yourself: vqcli verify --seal {folder}"
        raise VqcliError(message, hint=hint, reason="damaged")
    return listed is not None


def is_there(path: Path) -> bool:
    """Whether a file is there, if only a pipe, which whoever reads it refuses.

    Raises VqcliError where a manifest lists it and it is missing.
    """
    return exists(path) or verify_listed(path)


def read_listed(path: Path) -> Any:
    """The value of a JSON file, which is what ``verify_listed`` wants. Raises VqcliError."""
    verify_listed(path)
    return read_json(path)


def cache_folder() -> Path:
    """``$VQCLI_CACHE``, else vqcli's part of the user's cache folder. Raises VqcliError without either."""
    if named := os.environ.get(CACHE):
        return Path(named)
    if common := os.environ.get("XDG_CACHE_HOME"):
        return Path(common) / "vqcli"
    try:
        home = Path.home()
    except RuntimeError as e:  # a user without a name, as in some containers
        message = "this user has no home folder, and so no cache"
        raise VqcliError(message, hint=f"name a folder: {CACHE}=DIR", reason="environment") from e
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "vqcli"
