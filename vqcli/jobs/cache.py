"""Models as users name them; published files are imported once and kept by hash. No torch before that."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.hub import ENVIRONMENT, locate, published
from vqcli.types import Progress, silent

CACHE = "VQCLI_CACHE"
"""Names the folder of what is kept between commands and can be made again."""
KIND = "imported-2"
"""Its folder of imported models; the number changes when importers would make others of the same files."""


def model_folder(reference: str | None, progress: Progress = silent) -> Path:
    """The folder of the model a user named; a published file is imported into the cache when it is first met.

    Raises VqcliError where there is no model, and where ``import_model`` and ``downloads`` do.
    """
    named = reference or os.environ.get(ENVIRONMENT)
    if named and Path(named).is_file():
        return imported(Path(named), progress)
    source = published(named) if named else None
    if source is None:
        return locate(reference)
    from vqcli.jobs.pull import published_folder

    return published_folder(source, progress)


def imported(path: Path, progress: Progress = silent) -> Path:
    """The model folder of a published file, by the hash of its bytes; made again where it is damaged.

    Raises VqcliError if it is no published file.
    """
    digest = files.sha256(path)
    kept, folder = cache_folder() / KIND, kept_folder(path, digest)
    while not files.verified(folder):
        try:
            with files.locked(kept):
                files.clean(kept)
                if not files.verified(folder):
                    _import(path, folder, digest, progress)
                return folder
        except VqcliError as e:
            if e.reason != "locked":
                raise
            time.sleep(0.2)  # another process imports, maybe this very file
    return folder


def kept_folder(path: Path, digest: str) -> Path:
    """Where the import of a file of this SHA-256 is kept; a ``config.json`` beside it makes another of it."""
    beside = path.with_name("config.json")
    settings = ""
    with suppress(OSError):  # one that cannot be read counts where it is needed
        settings = f"-{files.sha256(beside)[:16]}"
    return cache_folder() / KIND / f"{digest}{settings}"


def _import(path: Path, folder: Path, digest: str, progress: Progress) -> None:
    from vqcli.jobs.convert import import_model

    if folder.exists():
        progress.say(f"{folder} is damaged: {path} is imported again")
        files.remove_folder(folder)
    made = import_model(path, folder, expected=digest)
    if made.metric_assumed:
        told = f"{path.name} is imported with codes compared by {made.metric}"
        progress.say(f"{told}; the file does not tell: vqcli import --metric")


def cache_folder() -> Path:
    """``$VQCLI_CACHE``, else vqcli's part of the user's cache folder."""
    if named := os.environ.get(CACHE):
        return Path(named)
    usual = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "vqcli"
