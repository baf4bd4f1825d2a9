"""What vqcli keeps between commands and can make again: shown, and let go of. No torch here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from vqcli import files
from vqcli.errors import VqcliError, suggestion
from vqcli.library.aliases import ALIASES
from vqcli.library.cache import cache_folder
from vqcli.types import Progress, silent

KINDS = {"imported": "model", "networks": "network", "evaluations": "evaluation"}
"""What folders of the cache hold, by their names before the version."""
HASH = 8
"""Digits of a folder's name that tell entries of the same name apart."""


@dataclass(frozen=True)
class CacheEntry:
    """A folder of the cache."""

    name: str
    """Short name or file name of a model, name of a network; unlike all others in the list."""
    kind: str
    """``model``, ``network``, ``evaluation`` (one that was not finished), or ``other``."""
    source: str
    """Where it comes from, in words."""
    bytes: int
    used: str
    """When it was last read or written, local time, ISO 8601; as exactly as the file system notes it."""
    folder: Path


@dataclass(frozen=True)
class CacheList:
    """All that is kept."""

    folder: Path
    entries: list[CacheEntry]

    @property
    def bytes(self) -> int:
        """Of all entries."""
        return sum(entry.bytes for entry in self.entries)


@dataclass(frozen=True)
class CacheRemoved:
    """What was let go of."""

    folder: Path
    removed: list[str]
    bytes: int


def list_cache() -> CacheList:
    """What lies in the cache, that used last first."""
    folder = cache_folder()
    below = [p for p in files.children(folder, "[!.]*") if files.is_folder(p)]
    parts = [(kind, p) for kind in below for p in files.children(kind, "[!.]*") if files.is_folder(p)]
    found = sorted((_entry(kind, part) for kind, part in parts), key=lambda e: e.used, reverse=True)
    often = Counter(entry.name for entry in found)
    return CacheList(
        folder,
        [replace(e, name=f"{e.name}@{e.folder.name[:HASH]}") if often[e.name] > 1 else e for e in found],
    )


def find_entries(names: Sequence[str]) -> list[CacheEntry]:
    """Entries by name, or by the beginning of their folder's. Raises VqcliError where one is not there."""
    entries = list_cache().entries
    found: dict[Path, CacheEntry] = {}
    for name in names:
        meant = [e for e in entries if name == e.name] or [
            e for e in entries if len(name) >= HASH and e.folder.name.startswith(name)
        ]
        if not meant:
            hint = suggestion(name, [e.name for e in entries]) if entries else "there is nothing in it"
            raise VqcliError(
                f"nothing in {cache_folder()} is called {name}", hint=hint, reason="input-missing"
            )
        found |= {e.folder: e for e in meant}
    return list(found.values())


def remove_entries(entries: Sequence[CacheEntry], progress: Progress = silent) -> CacheRemoved:
    """Delete entries; they are made again where they are needed. Raises VqcliError where one is in use."""
    progress.start("remove", len(entries), "folders")
    for entry in entries:
        with files.locked(entry.folder.parent):  # whoever makes one holds it
            if files.held(entry.folder):
                hint = "wait for it"
                raise VqcliError(f"{entry.folder} is in use", hint=hint, reason="locked")
            files.remove_folder(entry.folder)
        progress.advance()
    names = [entry.name for entry in entries]
    return CacheRemoved(cache_folder(), names, sum(entry.bytes for entry in entries))


def _entry(kind: Path, folder: Path) -> CacheEntry:
    found = [path.stat() for path in files.below(folder)]
    heaviest = max(found, key=lambda each: each.st_size, default=folder.stat())
    used = max(heaviest.st_atime, heaviest.st_mtime)  # small files are read for lists such as this one
    what = KINDS.get(kind.name.partition("-")[0], "other")
    name, source = _told(what, folder)
    return CacheEntry(
        name=name,
        kind=what,
        source=source,
        bytes=sum(each.st_size for each in found),
        used=datetime.fromtimestamp(used).isoformat(timespec="seconds"),
        folder=folder,
    )


def _told(what: str, folder: Path) -> tuple[str, str]:
    """Name and origin of an entry; as much as it tells."""
    if what == "model":
        record = _json(folder / "import.json")
        known = next((a for a, p in ALIASES.items() if p.sha256 and p.sha256 == record.get("sha256")), "")
        origin = f"{record.get('file', 'a file')}, {record.get('layout', 'unknown')}"
        if known:
            origin = f"{ALIASES[known].repository}, {origin}"
        return known or str(record.get("file", folder.name[:HASH])), origin
    if what == "evaluation":
        return f"evaluation-{folder.name[:HASH]}", "not finished: the same vqcli evaluate goes on"
    return folder.name, "its published weights" if what == "network" else ""


def _json(path: Path) -> dict[str, Any]:
    with files.passing_over():
        found = files.read_json(path)
        return found if isinstance(found, dict) else {}
    return {}
