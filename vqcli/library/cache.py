"""The folder of what is made once and can be made again: imports by hash, networks, downloads. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.files import cache_folder
from vqcli.types import Progress, silent

KIND = "imported-2"
"""Its folder of imported models; the number changes when importers would make others of the same files."""


def kept(folder: Path, make: Callable[[], None], progress: Progress = silent) -> Path:
    """A folder of the cache, made by one process at a time where it is not there or damaged."""
    waiting = False
    while not files.verified(folder):
        try:
            with files.locked(folder.parent):
                files.clean(folder.parent)
                if not files.verified(folder):
                    if files.exists(folder):
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


def variant(size: int, tokenizer: Path | None, scales: Sequence[int] = ()) -> str:
    """What names of imports end with: of a generator with its tokenizer, of a tokenizer with told scales."""
    if tokenizer is None:
        return "".join(f"-{side}" for side in scales)
    return f"-{size}-{files.read_listed(tokenizer / 'config.json')['fingerprint'][:16]}"


def kept_folder(path: Path, name: str) -> Path:
    """Where the import of a file of this name is kept; a ``config.json`` beside it makes another of it."""
    beside = path.with_name("config.json")
    settings = ""
    with files.passing_over():
        settings = f"-{files.sha256(beside)[:16]}"
    return cache_folder() / KIND / f"{name}{settings}"
