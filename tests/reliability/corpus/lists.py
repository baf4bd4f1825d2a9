"""Lists of images."""

from __future__ import annotations

from collections.abc import Iterator

from tests.reliability.corpus.base import picture
from tests.reliability.corpus.case import Case, both, encode, put

GOOD = both(put("a.png", picture()), put("b.png", picture(1)))
REJECTED: dict[str, bytes] = {
    "missing": b"a.png\ngone.png\n",
    "folder": b"a.png\n/etc\n",
    "null": b"a.png\n/dev/null\n",
    "zero": b"a.png\n/dev/zero\n",
    "text": b"a.png\nlist.txt\n",
    "long-name": b"a.png\n" + b"x" * 5000 + b".png\n",
    "long-part": b"a.png\n" + b"x" * 300 + b".png\n",
    "not-utf8": b"a.png\nb\xff.png\n",
    "escape": b"a.png\n\x1b[2J.png\n",
    "up-and-away": b"a.png\n../../../../../../etc/hostname.png\n",
}
ERRORS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("input-empty",)),
    "blank": (b"\n\n  \n", ("input-empty",)),
    "twice": (b"a.png\na.png\n", ("input-duplicate",)),
    "nul": (b"a.png\n\0.png\n", ("damaged", "format", "option")),
    "zeros": (bytes(4096), ("damaged", "format", "input-empty")),
    "all-missing": (b"x.png\ny.png\n", ("input-empty", "missing", "input-missing")),
    "line-of-8-mb": (b"x" * (8 << 20), ("input-empty", "damaged", "format", "missing", "input-missing")),
    "html": (
        b"<!DOCTYPE html>\n<html><body>404</body></html>\n",
        ("input-empty", "missing", "damaged", "format", "input-missing"),
    ),
    "png-as-txt": (picture(), ("damaged", "format", "input-empty", "missing", "input-missing")),
}
GOODS: dict[str, bytes] = {
    "plain": b"a.png\nb.png\n",
    "crlf": b"a.png\r\nb.png\r\n",
    "bom": b"\xef\xbb\xbfa.png\nb.png\n",
    "utf-16": "a.png\nb.png\n".encode("utf-16"),
    "blank-lines": b"\n\na.png\n\nb.png\n\n",
    "no-newline": b"a.png\nb.png",
}


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""
    reasons = ("missing", "not-a-file", "not-an-image", "empty-file", "unreadable", "unsupported-format")
    for name, data in REJECTED.items():
        yield Case(f"rejected-{name}", both(GOOD, put("list.txt", data)), encode("list.txt"), 3, reasons)
    for name, (data, words) in ERRORS.items():
        yield Case(f"error-{name}", both(GOOD, put("list.txt", data)), encode("list.txt"), 1, words)
    for name, data in GOODS.items():
        yield Case(f"good-{name}", both(GOOD, put("list.txt", data)), encode("list.txt"), 0)
