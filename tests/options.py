"""Configurations that note which of their options are read: one that nothing reads is a lie in the help."""

from typing import Any


def watched(part: Any) -> tuple[Any, set[str]]:
    """The ``TINY`` configuration of a part, and the names of what has been read of it since."""
    seen: set[str] = set()

    class Recorder(part.Config):  # type: ignore[misc]
        def __getattribute__(self, field: str) -> Any:
            seen.add(field)
            return super().__getattribute__(field)

    config = Recorder(**part.TINY)
    seen.clear()
    return config, seen


def unread(part: Any, seen: set[str]) -> set[str]:
    """Options that nothing has read."""
    return set(part.Config.model_fields) - {"name"} - seen
