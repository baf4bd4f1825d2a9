"""Lines of shards: a JSON object an input, which tells how it was encoded, or why not."""

from __future__ import annotations

from typing import Any

from vqcli import files
from vqcli.types import grid_length

MOST_CLASSES = 1 << 31


def parse_lines(text: bytes, where: object) -> list[dict[str, Any]]:
    """The lines of a shard. Raises VqcliError or ValueError where one is not as a job writes it."""
    lines = [files.parse_json(line, f"{where} line {i}") for i, line in enumerate(text.splitlines(), 1)]
    for i, line in enumerate(lines, 1):
        if not (isinstance(line, dict) and isinstance(line.get("key"), str) and _is_told(line)):
            raise ValueError(f"line {i} of {where} does not tell of an image")
    return lines


def tokens_told(lines: list[dict[str, Any]]) -> int:
    """How many tokens all rows have."""
    return sum(grid_length(line["grid"]) for line in lines if line["status"] == "ok")


def is_pair(sides: Any) -> bool:
    """Whether a JSON value is a height and a width."""
    return isinstance(sides, list) and len(sides) == 2 and all(type(n) is int and n > 0 for n in sides)


def are_listed(told: dict[str, Any]) -> bool:
    """Whether what an index tells of files, rejected inputs and extras is of the right types."""
    hashes, rejected, extras = told.get("sha256", {}), told.get("rejected", []), told.get("extras", {})
    return (
        isinstance(hashes, dict)
        and isinstance(rejected, list)
        and all(isinstance(each, dict) for each in rejected)
        and isinstance(extras, dict)
        and all(type(n) is int for n in extras.values())
    )


def _is_told(line: dict[str, Any]) -> bool:
    if line.get("status") != "ok":
        return isinstance(line.get("status"), str) and isinstance(line.get("reason"), str)
    label, grid = line.get("label", ""), line.get("grid")
    return (
        (label is None or (type(label) is int and -1 <= label < MOST_CLASSES))
        and isinstance(grid, list)
        and all(map(is_pair, grid))
        and isinstance(line.get("extras", {}), dict)
    )
