"""A malformed input, the command that gets it, and what must become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Make = Callable[[Path], object]
"""Writes the input into the folder where the command runs."""


@dataclass(frozen=True)
class Case:
    """What is expected is written from the promises, not from what a program does."""

    name: str
    make: Make
    command: tuple[str, ...]
    """Without ``vqcli``; ``{base}`` is the folder of models."""
    code: int
    """Exit code: 0 accepted, 1 an error, 2 a wrong command line, 3 inputs were rejected."""
    reason: tuple[str, ...] = ()
    """Words that an error's or a rejection's reason may be."""
    about: str = ""
    """What the error must name: a file, a key, a flag."""


def put(name: str, data: bytes) -> Make:
    """Write one file, and its folders."""

    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return make


def nothing(folder: Path) -> None:
    """For commands whose arguments are the input."""


def both(*makes: Make) -> Make:
    """Write one after the other."""
    return lambda folder: [make(folder) for make in makes]


DEVICE = ("--device", "cpu")


def encode(images: str, *more: str) -> tuple[str, ...]:
    """Encode with the small tokenizer, in this process."""
    fixed = ("-m", "{base}/tok", "-o", "out.npy", "--num-workers", "0", "--json", *DEVICE)
    return ("encode", images, *fixed, *more)


def decode(tokens: str, *more: str) -> tuple[str, ...]:
    """Decode with the small tokenizer."""
    return ("decode", tokens, "-m", "{base}/tok", "-o", "out", "--json", *DEVICE, *more)


def generate(model: str, *more: str) -> tuple[str, ...]:
    """One image of the first class."""
    return ("generate", "-m", model, "--prompt-class", "0", "-n", "1", "-o", "out", "--json", *DEVICE, *more)
