"""Errors a user can act on."""

from __future__ import annotations

REASONS = {
    "config": "a recipe, a key of it, or `--set` cannot be what it is",
    "option": "an option, or its value, does not fit the command, the model or another option",
    "size": "images of that size cannot be used",
    "class": "no class, or more than one, goes by that name or number",
    "reference": "a name that can be neither a model nor a repository",
    "ambiguous": "a name that stands for several models",
    "input-missing": "what was named is not there, or cannot be read",
    "input-empty": "what was named holds nothing to work on, or too little",
    "input-mixed": "what was named holds files of several kinds",
    "input-duplicate": "an image is named twice",
    "labels": "images or tokens lack classes, or have others than they should",
    "no-info": "a file does not tell what must be known of it",
    "damaged": "a file is not what it should be: cut, changed or written wrongly",
    "format": "a file of a kind or version that is not read here",
    "layout": "weights whose keys or shapes do not fit a known model",
    "unsafe": "a file that could run code, or a link that could lead anywhere; it was not opened",
    "wrong-kind": "a model, or a file, of another kind than this work needs",
    "unfinished": "a run or tokens that are still being made",
    "fingerprint": "tokens of another tokenizer",
    "tokenizer": "a tokenizer that does not fit the generator",
    "grid": "a layout of tokens that the model does not know",
    "token-range": "a token beyond the codebook",
    "not-finite": "NaN or Inf where numbers are needed",
    "diverged": "training went to NaN or Inf",
    "exists": "the result is there already, or something else stands in its place",
    "output": "a result cannot be written there",
    "locked": "another process is at work in that folder",
    "changed": "data, settings or software changed under work that was to be continued",
    "environment": "the machine or its software cannot do it",
    "plugin": "parts from outside are needed and not allowed, or cannot be used",
    "missing-extra": "a package is missing that an extra of vqcli installs",
    "memory": "it does not fit into memory",
    "worker-died": "a process that reads images died",
    "offline": "a download is needed, and none is allowed",
    "unavailable": "the network or a server did not answer",
    "denied": "a server does not let you in",
    "protocol": "a server answered something else than it should",
    "hash": "a download is not the file that was published",
    "os": "the operating system refused",
    "interrupted": "stopped by a signal; what was finished is kept",
    "internal": "an error in vqcli",
    "failed": "anything else",
}
"""What the ``reason`` of an error can be, a stable word for scripts, and what it means."""
REJECTIONS = {
    "missing": "the file is not there",
    "not-a-file": "a folder, a pipe or a device",
    "empty-file": "nothing in it",
    "file-too-large": "more than 256 MiB",
    "not-an-image": "no image, or none of a known format",
    "unsupported-format": "an image of a format, or a form of it, that is not read: convert it",
    "truncated": "the end is missing",
    "damaged": "it cannot be decoded",
    "too-many-pixels": "more than 64 million pixels",
    "too-small": "fewer pixels than the model needs",
    "aspect-ratio": "one side more than 32 times the other",
    "float-image": "floating-point pixels, whose range nobody knows",
    "unsupported-depth": "integers that are not of 8 or 16 bits",
    "changed": "its archive was cut while it was in use",
}
"""Why one input is rejected, and what that means."""


def _known(reason: str, reasons: dict[str, str]) -> str:
    if reason not in reasons:
        raise ValueError(f"unknown reason '{reason}'; {suggestion(reason, list(reasons))}")
    return reason


class VqcliError(Exception):
    """A user's problem: one sentence that names the file and the reason, and a hint."""

    def __init__(self, message: str, *, hint: str = "", reason: str = "failed") -> None:
        """``reason`` is a word of ``REASONS``. Raises ValueError for another."""
        super().__init__(message)
        self.hint, self.reason = hint, _known(reason, REASONS)


class BadImage(Exception):
    """One input that cannot be used: bulk jobs reject, count and list it.

    ``reason`` is a word of ``REJECTIONS``, the message a sentence. Raises ValueError for another word.
    """

    def __init__(self, key: str, reason: str, detail: str = "") -> None:
        super().__init__(key, reason, detail)
        self.key, self.reason, self.detail = key, _known(reason, REJECTIONS), detail

    def record(self) -> dict[str, str]:
        """Its key and reason, and its detail where it has one, as results list them."""
        found = {"key": self.key, "reason": self.reason}
        return found | {"detail": self.detail} if self.detail else found

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


class Interrupted(BaseException):
    """Work stopped by a signal after everything finished was committed; ``signal`` is its number.

    No Exception, as KeyboardInterrupt is none: nothing that catches errors may take it for one.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


MOST_KNOWN = 16
"""Names that a hint lists."""


def suggestion(name: str, known: list[str], listed: str = "") -> str:
    """``did you mean 'x'?``, or the list of what there is; ``listed``, a command, shows a long one."""
    import difflib

    if near := difflib.get_close_matches(name, known, n=1):
        return f"did you mean '{near[0]}'?"
    if listed and len(known) > MOST_KNOWN:
        return f"{listed} shows all {len(known)}"
    more = f" and {len(known) - MOST_KNOWN} more" if len(known) > MOST_KNOWN else ""
    return f"known: {', '.join(known[:MOST_KNOWN])}{more}"
