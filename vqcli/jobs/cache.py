"""Models as users name them; published files are imported once and kept by hash. No torch before that."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.hub import ENVIRONMENT, locate, published
from vqcli.types import Progress, silent

CACHE = "VQCLI_CACHE"
"""Names the folder of what is kept between commands and can be made again."""
KIND = "imported-1"
"""Its folder of imported models; the number changes when importers would make others of the same files."""


def model_folder(reference: str | None, progress: Progress = silent) -> Path:
    """The folder of the model a user named; a published file is imported into the cache when it is first met.

    Raises VqcliError where there is no model, and where ``import_model`` and ``downloads`` do.
    """
    named = reference or os.environ.get(ENVIRONMENT)
    if named and Path(named).is_file():
        return imported(Path(named))
    source = published(named) if named else None
    if source is None:
        return locate(reference)
    from vqcli.jobs.pull import published_folder

    return published_folder(source, progress)


def imported(path: Path) -> Path:
    """The model folder of a published file, by the hash of its bytes. Raises VqcliError if it is none."""
    kept = cache_folder() / KIND
    folder = kept / files.sha256(path)
    while not (folder / "config.json").is_file():
        try:
            with files.locked(kept):
                files.clean(kept)
                if not (folder / "config.json").is_file():
                    from vqcli.jobs.convert import import_model

                    import_model(path, folder)
        except VqcliError as e:
            if e.reason != "locked":
                raise
            time.sleep(0.2)  # another process imports, maybe this very file
    return folder


def cache_folder() -> Path:
    """``$VQCLI_CACHE``, else vqcli's part of the user's cache folder."""
    if named := os.environ.get(CACHE):
        return Path(named)
    usual = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "vqcli"
