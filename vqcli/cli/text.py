"""Text for people: lines and tables that fit the terminal, and that names of files cannot break.

Names of files come from strangers: control characters and those that turn the reading direction are escaped.
Where stdout is a terminal, text is wrapped to its width, by rich. Elsewhere a row is a line, as long as it
is: what comes next is ``grep``, ``awk`` or a file.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def visible(text: object) -> str:
    """Text for one line of a terminal: control, direction and undecodable characters as escapes."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout and sys.stdout.isatty() else None


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table without lines, with a head unless no column has a name; numbers stand to the right."""
    rows = list(rows)
    cells = [[visible(f"{cell:,}" if type(cell) is int else cell) for cell in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    head = [visible(column) for column in columns]
    width = terminal_width()
    return _plain(head, cells, right) if width is None else _wrapped(head, cells, right, width)


def _plain(head: list[str], cells: list[list[str]], right: list[bool]) -> str:
    lines = [head, *cells] if any(head) else cells
    widths = [max(len(line[i]) for line in lines) if lines else 0 for i in range(len(head))]
    aligned = [
        [cell.rjust(w) if on_right else cell.ljust(w) for cell, w, on_right in zip(line, widths, right)]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def _wrapped(head: list[str], cells: list[list[str]], right: list[bool], width: int) -> str:
    from rich.console import Console  # 15 ms that only a terminal needs
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, show_header=any(head), pad_edge=False, padding=(0, 2, 0, 0))
    for i, (name, on_right) in enumerate(zip(head, right)):
        whole = max(len(line[i]) for line in [head, *cells])
        least = min(whole, width // 2) if i == 0 else None  # names stay in one piece
        grid.add_column(
            Text(name), "", min_width=least, justify="right" if on_right else "left", overflow="fold"
        )
    for row in cells:
        grid.add_row(*map(Text, row))
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as shown:
        console.print(grid)
    return "\n".join(line.rstrip() for line in shown.get().splitlines())


def fields(rows: Iterable[tuple[str, object]], title: str = "") -> str:
    """Names and values, a value wrapped under its own beginning; below a title where there is one."""
    lines = table(["", ""], [(name, str(value)) for name, value in rows])
    return f"{title}\n{lines}" if title else lines


def paragraph(text: str, indent: str = "") -> str:
    """A paragraph whose every line is indented."""
    return table(["", ""], [(indent[:-2], text)]) if len(indent) >= 2 else table([""], [(text,)])


def rejections(rejected: Sequence[Mapping[str, str]], title: str = "rejected") -> list[str]:
    """Lines that name the first few inputs that could not be used, each with its reason."""
    return listed(title, [f"{each['key']}: {each['reason']}" for each in rejected])


def listed(title: str, items: Sequence[object], most: int = 10) -> list[str]:
    """Lines that name the first few items under a title and count the others; none where there are none."""
    if not items:
        return []
    lines = [f"{title} ({len(items):,}):", *(f"  {visible(item)}" for item in items[:most])]
    return [*lines, f"  and {len(items) - most:,} more"] if len(items) > most else lines


def counted(number: int, what: str) -> str:
    """``1 image``, ``2,000 images``."""
    return f"{number:,} {what}" + "s" * (number != 1)
