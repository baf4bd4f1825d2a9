"""Hostile names, and whether what was written of them is neutral."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

NAMES = (
    '=HYPERLINK("http:x")',
    "+1+1",
    "-2",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "line\n# Injected <b>x",
    "\x1b[2J\x1b]0;x\x07",
    "\u202egnp",
    "<img src=x onerror=alert(1)>",
    "`code` **b** [a](x)",
    '" onload="x',
    "error: x\nhint: y",
    "{7*7}%s$(touch canary)",
)
"""What files and classes are called."""


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(key for key, _ in attrs if key.startswith("on"))}


BAD_TAGS = {"script", "b", "iframe", "object", "embed", "form", "a"}


def check_names(top: Path) -> str:
    """Pages without strange elements, tables without formulas, cards without markup, all below ``out``."""
    for path in (top / "out").rglob("*"):
        if not path.is_file():
            continue
        if path.suffix in (".html", ".svg"):
            page = _Tags()
            page.feed(path.read_text(encoding="utf-8"))
            if bad := {each for each in page.found if each in BAD_TAGS or each.startswith("on")}:
                return f"{path.name} has {sorted(bad)}"
        elif path.suffix == ".csv":
            with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
                cells = {cell for line in csv.reader(file) for cell in line}
            if bad := {each for each in cells if re.match(r"[=+@\t\r]|-(?![\d.]+\Z)", each)}:
                return f"{path.name} has formulas: {sorted(bad)[:3]}"
        elif path.name == "README.md":
            card = path.read_text(encoding="utf-8")
            if "# Injected" in card or "<b>" in card or "](http" in card:
                return "the card has markup of a name"
    return ""
