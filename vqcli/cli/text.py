"""Text for people: lines and tables that names of files cannot break.

Names of files come from strangers: control characters and those that turn the reading direction are escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def visible(text: object) -> str:
    """Text for one line of a terminal: control, direction and undecodable characters as escapes."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table without lines. Cells are data: nothing invisible in them; numbers stand to the right."""
    rows = list(rows)
    cells = [[visible(f"{cell:,}" if type(cell) is int else cell) for cell in row] for row in rows]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))
    ]
    lines = [[visible(column) for column in columns], *cells] if any(columns) else cells
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    aligned = [
        [cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(line, widths, numeric)]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def rejections(rejected: Sequence[Mapping[str, str]], title: str = "rejected") -> list[str]:
    """Lines that name the first few inputs that could not be used, each with its reason."""
    return listed(title, [f"{each['key']}: {each['reason']}" for each in rejected])


def listed(title: str, items: Sequence[object], most: int = 10) -> list[str]:
    """Lines that name the first few items under a title and count the others; none where there are none."""
    if not items:
        return []
    lines = [f"{title} ({len(items):,}):", *(f"  {visible(item)}" for item in items[:most])]
    return [*lines, f"  and {len(items) - most:,} more"] if len(items) > most else lines
