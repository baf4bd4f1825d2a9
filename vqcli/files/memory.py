"""How much memory may be taken by reading what others made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from vqcli import bounds
from vqcli.errors import VqcliError

with suppress(ImportError):  # not on every system
    import resource

_inside = Lock()


@contextmanager
def within(
    what: object, size: int, hint: str = "is it the right file?", since: int | None = None
) -> Iterator[None]:
    """Inside, no more memory is to be had than a file of this size may take, where the system counts it.

    What cannot be known before it is unpacked is bounded so. ``since`` is what ``used`` said when its reading
    began, where that was before. Raises VqcliError, which names ``what``, where memory ends.
    """
    first = _inside.acquire(blocking=False)  # where another is at it, its bound holds for both
    limit = _bounded((used() if since is None else since) + bounds.allowed(size)) if first else None
    try:
        yield
    except (MemoryError, RuntimeError) as e:
        if not isinstance(e, MemoryError) and "allocate memory" not in str(e):  # as torch says it
            raise
        most = f"{bounds.allowed(size) >> 20:,} MiB"
        message = f"{what} does not fit into the {most} that reading a file of its size may take"
        raise VqcliError(message, hint=hint, reason="memory") from e
    finally:
        if limit:
            resource.setrlimit(resource.RLIMIT_DATA, limit)
        if first:
            _inside.release()


def used() -> int:
    """Bytes of memory that the process has for itself; 0 where the system does not tell."""
    with suppress(OSError, ValueError, NameError):
        return int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()
    return 0


def _bounded(most: int) -> tuple[int, int] | None:
    """Let the process have so many bytes at most; the limits that held before, None where none was set."""
    with suppress(OSError, ValueError, NameError):
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if used() and (soft == resource.RLIM_INFINITY or most < soft):
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
            return soft, hard
    return None
