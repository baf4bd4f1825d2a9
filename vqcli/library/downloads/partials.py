"""What killed downloads have left in the client's cache, which never takes it up again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from vqcli import files

ENDING = ".incomplete"


def clean(repository: Path) -> None:
    """Remove unfinished files of a repository's folder in the cache whose locks nobody holds."""
    for path in files.children(repository / "blobs", f"*{ENDING}"):
        from filelock import FileLock, Timeout

        etag = path.name.partition(".")[0]
        lock = repository.parent / ".locks" / repository.name / f"{etag}.lock"
        with suppress(OSError, Timeout, NotImplementedError), FileLock(lock, timeout=0):
            path.unlink(missing_ok=True)
