"""Models as users name them; published files are imported once and kept by hash. No torch before that."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
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
    from vqcli.jobs.published import published_folder

    return published_folder(source, progress)


def imported(path: Path, progress: Progress = silent, size: int = 0, tokenizer: Path | None = None) -> Path:
    """The model folder of a published file, by the hash of its bytes; made again where it is damaged.

    Of a generator it also depends on what no file tells: the ``size`` of its images in pixels a side, and the
    folder of the tokenizer whose tokens it makes. Raises VqcliError if it is no published file.
    """
    digest = files.sha256(path)
    folder = kept_folder(path, digest + variant(size, tokenizer))
    return kept(folder, lambda: _import(path, folder, digest, size, tokenizer, progress), progress)


def kept(folder: Path, make: Callable[[], None], progress: Progress = silent) -> Path:
    """A folder of the cache, made by one process at a time where it is not there or damaged."""
    waiting = False
    while not files.verified(folder):
        try:
            with files.locked(folder.parent):
                files.clean(folder.parent)
                if not files.verified(folder):
                    if folder.exists():
                        progress.say(f"{folder} is damaged: it is made again")
                        files.remove_folder(folder)
                    make()
                return folder
        except VqcliError as e:
            if e.reason != "locked":
                raise
        if not waiting:
            progress.say(f"another process uses {folder.parent}: waiting for it")
        waiting = True
        time.sleep(0.2)
    return folder


def variant(size: int, tokenizer: Path | None) -> str:
    """What the names of a generator's imports end with; nothing without a tokenizer."""
    if tokenizer is None:
        return ""
    return f"-{size}-{files.read_json(tokenizer / 'config.json')['fingerprint'][:16]}"


def kept_folder(path: Path, name: str) -> Path:
    """Where the import of a file of this name is kept; a ``config.json`` beside it makes another of it."""
    beside = path.with_name("config.json")
    settings = ""
    with suppress(OSError):  # one that cannot be read counts where it is needed
        settings = f"-{files.sha256(beside)[:16]}"
    return cache_folder() / KIND / f"{name}{settings}"


def _import(
    path: Path, folder: Path, digest: str, size: int, tokenizer: Path | None, progress: Progress
) -> None:
    from vqcli.importers.base import ImportOptions
    from vqcli.jobs.convert import import_model

    options = ImportOptions()
    if tokenizer:
        options = ImportOptions(size=(size, size), tokenizer=str(tokenizer), bring=False)
    made = import_model(path, folder, options, expected=digest)
    for option, what in made.assumptions().items():
        progress.say(f"{path.name} is imported with {what}; the file does not tell: vqcli import --{option}")


def cache_folder() -> Path:
    """``$VQCLI_CACHE``, else vqcli's part of the user's cache folder."""
    if named := os.environ.get(CACHE):
        return Path(named)
    usual = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or usual) / "vqcli"
