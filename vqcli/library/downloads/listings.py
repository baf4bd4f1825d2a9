"""Names of repositories' files, kept beside the client's cache: it stays clear which file is meant."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from vqcli import files
from vqcli.errors import VqcliError


def remember(repository: str, commit: str, names: list[str]) -> None:
    """Keep all usable names of a commit, where the disk lets us: they never change."""
    with suppress(OSError, ValueError, VqcliError):
        path = _path(repository, commit)
        if not files.exists(path):
            files.write_sealed(path, {"names": names})


def recall(repository: str, commit: str) -> list[str] | None:
    """All usable names of a commit, if they were ever told."""
    with suppress(OSError, ValueError, VqcliError):
        names = files.read_sealed(_path(repository, commit), files.LISTS).get("names")
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    return None


def _path(repository: str, commit: str) -> Path:
    from huggingface_hub import cached_assets_path, constants

    folder = cached_assets_path("vqcli", repository, "listings", assets_dir=constants.HF_ASSETS_CACHE)
    return folder / f"{commit}.json"
