"""Text for people: lines and tables that fit the terminal, and that names of files cannot break.

Where stdout is a terminal, text is wrapped to its width, by rich. Elsewhere a row is a line, as long as it
is: what comes next is ``grep``, ``awk`` or a file.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

from vqcli.escapes import visible

SENTENCE, HINT = 300, 600
"""Characters of an error and of its hint: names and values in them come from strangers too."""
LEAST = 16
"""Columns that words need to be read."""


def cut(text: str, most: int = SENTENCE) -> str:
    """A text whose middle is left out where it is longer than that."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 5]} ... {text[-end:]}"


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout and sys.stdout.isatty() else None


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], indent: str = "") -> str:
    """A table without lines, with a head unless no column has a name; numbers stand to the right."""
    rows = list(rows)
    cells = [[visible(f"{cell:,}" if type(cell) is int else cell) for cell in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    head = [visible(column) for column in columns]
    width = terminal_width()
    if width is None:
        lines = _plain(head, cells, right)
    else:
        lines = _wrapped(head, cells, right, max(width - len(indent), 1))
    return "\n".join((indent + line).rstrip() for line in lines)


def _plain(head: list[str], cells: list[list[str]], right: list[bool]) -> list[str]:
    lines = [head, *(row[: len(head)] for row in cells)] if any(head) else cells
    widths = [max((len(line[i]) for line in lines), default=0) for i in range(len(head))]
    return [
        "  ".join(
            cell.rjust(w) if on_right else cell.ljust(w) for cell, w, on_right in zip(line, widths, right)
        )
        for line in lines
    ]


def _wrapped(head: list[str], cells: list[list[str]], right: list[bool], width: int) -> list[str]:
    """The last column is wrapped; where it would have no room it goes below the others."""
    from rich.cells import cell_len  # a letter of some scripts takes two columns

    others = range(len(head) - 1)
    taken = sum(max(cell_len(line[i]) for line in [head, *cells]) + 2 for i in others)
    if width - taken < LEAST and len(others) > 1 and taken - 2 <= width:
        first = _plain(head[:-1], cells, right[:-1])
        titles = [first.pop(0)] if any(head[:-1]) else []
        below = (["    " + line for line in _rich([""], [row[-1:]], right[-1:], width - 4)] for row in cells)
        return titles + [line for top, rest in zip(first, below) for line in (top, *rest)]
    return _rich(head, cells, right, width, whole=width - taken >= LEAST)


def _rich(
    head: list[str], cells: list[list[str]], right: list[bool], width: int, whole: bool = False
) -> list[str]:
    """Lines of rich's table; ``whole``: all columns but the last are left as wide as they are."""
    from rich.console import Console  # 15 ms that only a terminal needs
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, show_header=any(head), pad_edge=False, padding=(0, 2, 0, 0))
    for i, (name, on_right) in enumerate(zip(head, right), 1):
        kept = whole and i < len(head)
        grid.add_column(Text(name), justify="right" if on_right else "left", no_wrap=kept, overflow="fold")
    for row in cells:
        grid.add_row(*map(Text, row))
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as shown:
        console.print(grid)
    return shown.get().splitlines()


def fields(rows: Iterable[tuple[str, object]], title: str = "") -> str:
    """Names and values, a value wrapped under its own beginning; below a title where there is one."""
    lines = table(["", ""], [(name, str(value)) for name, value in rows])
    return f"{visible(title)}\n{lines}" if title else lines


def section(heading: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table below its heading, indented."""
    return f"{paragraph(heading)}\n{table(columns, rows, '  ')}"


def paragraph(text: str, indent: str = "") -> str:
    """A paragraph whose every line is indented."""
    return table([""], [(text,)], indent)


def rejections(rejected: Sequence[Mapping[str, str]], title: str = "rejected") -> list[str]:
    """Lines that name the first few inputs that could not be used, each with its reason."""
    details = [f" ({each['detail']})" if each.get("detail") else "" for each in rejected]
    named = [f"{each['key']}: {each['reason']}{detail}" for each, detail in zip(rejected, details)]
    return listed(title, named)


def listed(title: str, items: Sequence[object], most: int = 10) -> list[str]:
    """Lines that name the first few items under a title and count the others; none where there are none."""
    if not items:
        return []
    lines = [f"{title} ({len(items):,}):", *(f"  {visible(item)}" for item in items[:most])]
    return [*lines, f"  and {len(items) - most:,} more"] if len(items) > most else lines


def counted(number: int, what: str) -> str:
    """``1 image``, ``2,000 images``."""
    return f"{number:,} {what}" + "s" * (number != 1)


TO_TYPE = re.compile(
    r"\bvqcli (?:train|encode|decode|reconstruct|generate|classify|evaluate|usage-report|prune|info|check"
    r"|push|build-codebook)(?= [^;\n]*(?:(?<= )-|/|\.yaml))(?![^;\n]*--plugin)"
    r"|(?<=with )--resume\b(?![^;\n]*--plugin)"
)
"""What a reader would type: a command with a flag or a path, or the flag that continues a run; without those
that name their plugins already."""


def with_plugins(text: str, plugins: Sequence[str]) -> str:
    """A text whose commands name the plugins that the command at hand was given, which they need too."""
    if not plugins:
        return text
    flags = "".join(f" --plugin {shlex.quote(name)}" for name in plugins)
    return TO_TYPE.sub(lambda found: found[0] + flags, text)
