"""How a command speaks: its result on stdout, everything else on stderr."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import typer

from vqcli.cli.text import HINT, counted, cut, with_plugins
from vqcli.escapes import visible
from vqcli.types import Progress, silent

UNCLEAN = 3
"""Exit code of work that was finished, but not clean."""
RED, GREEN, YELLOW, CYAN = "31", "32", "33", "36"
COLOURS = {
    "error": RED,
    "problem": RED,
    "warning": YELLOW,
    "likely cause": YELLOW,
    "also": YELLOW,
    "healthy": GREEN,
    "ok": GREEN,
    "hint": CYAN,
    "cure": CYAN,
}
"""Of words that begin a line and end with a colon, on a terminal: where people look first."""
_COLOURED = re.compile(rf"( *)({'|'.join(COLOURS)})( \(process \d+\))?:")


def to_plain(value: Any) -> Any:
    """``value`` in JSON's types: dataclasses and arrays opened, NaN and infinities as null."""
    if hasattr(value, "to_json"):  # it is a file of ours, and shown as it stands there
        return to_plain(value.to_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and torch, scalars and arrays
        return to_plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def leads() -> bool:
    """Whether this process speaks for its job: of several, only the first does."""
    return os.environ.get("RANK", "0") == "0"


class Out:
    """What a command speaks through; built from ``--json``, ``--quiet`` and ``--verbose``."""

    def __init__(self, json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json, self.quiet, self.verbose = json, quiet, verbose
        self.plugins: list[str] = []
        """Those that the command was given: what it says to do next needs them too."""
        self._close: Callable[[], None] = lambda: None

    def result(
        self,
        value: Any,
        text: str | Callable[[], str],
        essential: object = None,
    ) -> None:
        """The command's one result, on stdout.

        ``value`` is what ``--json`` prints, ``text`` (or what it returns) is for people, ``essential`` the
        path or name that ``--quiet`` leaves.
        """
        self.close()
        if not leads():
            return
        if self.json:
            print(json.dumps(to_plain(value), indent=2, allow_nan=False))  # noqa: T201
        elif not self.quiet:
            _show(with_plugins(text() if callable(text) else text, self.plugins))
        elif essential is not None and _is_terminal(sys.stdout):
            _show(str(essential))
        elif essential is not None:
            print(essential)  # noqa: T201 (a script wants the path as it is)

    def progress(self) -> Progress:
        """A bar on a terminal, otherwise a plain line every few seconds; nothing under ``--quiet``."""
        if self.quiet or not leads():
            return silent
        self.close()
        if _is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb":
            from vqcli.cli.bars import RichProgress

            made: RichProgress | PlainProgress = RichProgress()
        else:
            from vqcli.cli.progress import PlainProgress

            made = PlainProgress(sys.stderr)
        self._close = made.close
        return made

    def close(self) -> None:
        """End the progress bar, so that what follows stands below it."""
        self._close()
        self._close = lambda: None

    def say(self, text: str) -> None:
        """Talk that ``--quiet`` silences."""
        if not self.quiet:
            self._talk(text)

    def detail(self, text: str) -> None:
        """Talk that only ``--verbose`` wants."""
        if self.verbose:
            self._talk(text)

    def warn(self, text: str) -> None:
        """Something the reader should know, even under ``--quiet``."""
        self._talk(f"warning: {text}")

    def warn_rejected(self, rejected: Sequence[object]) -> None:
        """Count inputs that could not be used, and end with ``UNCLEAN``; nothing where there are none."""
        if rejected:
            were = "was" if len(rejected) == 1 else "were"
            self.warn(f"{counted(len(rejected), 'input')} {were} rejected")
            raise typer.Exit(UNCLEAN)

    def error(self, message: str, hint: str = "", reason: str = "failed") -> None:
        """Why the command failed and what to do: on stderr, or as the one JSON value. Every process may.

        Where it was stopped, that is no error, and the first process alone says it.
        """
        self.close()
        message, hint = (visible(with_plugins(said, self.plugins)) for said in (message, hint))
        message, hint = cut(message), cut(hint, HINT)
        if self.json and leads():
            said = {"error": message, "hint": hint, "reason": reason}
            print(json.dumps(said, indent=2))  # noqa: T201
            return
        where = "" if leads() else f" (process {os.environ['RANK']})"
        if reason != "interrupted":
            _write(f"error{where}: {message}", sys.stderr)
        elif leads():
            _write(message, sys.stderr)
        if hint:
            _write(f"hint: {hint}", sys.stderr)

    def _talk(self, text: str) -> None:
        self.close()
        if leads():
            _write(text, sys.stderr)


def coloured(line: str, stream: TextIO) -> str:
    """A line whose first word is coloured, if it is one of ``COLOURS`` and the stream shows colours."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not _is_terminal(stream)
    found = None if plain else _COLOURED.match(line)
    if not found:
        return line
    indent, word, rest = found[1], found[2], line[found.end(2) :]
    return f"{indent}\x1b[{COLOURS[word]}m{word}\x1b[0m{rest}"


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _show(text: str) -> None:
    """Print for people: lines stay lines."""
    for line in text.rstrip("\n").split("\n"):
        _write(line, sys.stdout)


def _write(line: str, stream: TextIO) -> None:
    """One line for people: nothing invisible in it."""
    print(coloured(visible(line), stream), file=stream)
