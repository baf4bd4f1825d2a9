"""What a run has logged: the lines of its ``metrics.jsonl``, as far as they are whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vqcli import files
from vqcli.errors import VqcliError

LOG = "metrics.jsonl"
LARGEST = 1e300
"""What can be computed with; JSON has whole numbers beyond it."""


def logged(run: Path, say: Callable[[str], object] = lambda text: None) -> list[dict[str, Any]]:
    """The lines of a run's log, each a step and numbers by name; none where there is no log.

    What is no such line is passed over, and ``say`` is told of it in a sentence: the others are as they were.
    Raises VqcliError if the log cannot be read.
    """
    bad: list[int] = []
    try:
        found = list(files.read_lines(run / LOG, bad.append))
    except VqcliError as e:
        if e.reason == "input-missing":
            return []
        raise
    lines = [line for line in found if _is_whole(line)]
    if damaged := len(bad) + len(found) - len(lines):
        say(f"{run / LOG}: {damaged:,} damaged {'lines are' if damaged > 1 else 'line is'} passed over")
    return lines


def _is_whole(line: dict[str, Any]) -> bool:
    """Whether a line has what every one of its kind has, and nothing but numbers."""
    numbers = all(isinstance(x, int | float) and abs(x) < LARGEST for x in line.values())
    counted = ("utilization" in line) == ("utilization_tokens" in line)
    return numbers and counted and isinstance(line.get("step"), int)
