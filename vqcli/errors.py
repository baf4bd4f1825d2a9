"""Errors a user can act on."""

from __future__ import annotations


class VqcliError(Exception):
    """A user's problem: one sentence that names the file and the reason, and a hint."""

    def __init__(self, message: str, *, hint: str = "", reason: str = "failed") -> None:
        """``reason`` is a stable word for scripts (``--json``), such as ``input-missing`` or ``config``."""
        super().__init__(message)
        self.hint, self.reason = hint, reason


class BadImage(Exception):
    """One input that cannot be used: bulk jobs reject, count and list it.

    ``reason`` is a stable word (``truncated``, ``aspect-ratio``, ``not-an-image``), the message a sentence.
    """

    def __init__(self, key: str, reason: str, detail: str = "") -> None:
        super().__init__(key, reason, detail)
        self.key, self.reason, self.detail = key, reason, detail

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


class Interrupted(Exception):
    """Work stopped by a signal after everything finished was committed; ``signal`` is its number."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def suggestion(name: str, known: list[str]) -> str:
    """``did you mean 'x'?``, or the list of what there is."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
