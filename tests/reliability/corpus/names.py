"""Names of images that are odd and must be taken as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tests.reliability.corpus.base import picture
from tests.reliability.corpus.case import Case, Make, encode

NAMES: tuple[bytes, ...] = (
    b"bad\xff.png", b"\xed\xa0\x80.png", b"new\nline.png", b"ret\rurn.png", b"tab\t.png", b"\x1b[2J.png",
    b"\x1b]8;;http://x\x07y.png", "\u202egnp.png".encode(), "zero\u200bwidth.png".encode(), "\ufeffbom.png".encode(),
    "e\u0301.png".encode(), "\u00e9.png".encode(), b"..png", b"...png", b" lead.png", b"trail .png", b"-rf.png",
    b"--help.png", b"=cmd|' /C calc'!A0.png", b"+1.png", b"@x.png", b"<img src=x onerror=alert(1)>.png",
    b'"><svg onload=alert(1)>.png', b"</script>.png".replace(b"/", b"|"), b"{{7*7}}.png", b"{}.png", b"%s%n.png", b"100%.png",
    b"%2e%2e%2f.png", b"$(touch x).png", b"`id`.png", b";rm.png", b"|.png", b"&.png", b"*?[].png", b"[x].png",
    b"[red].png", b"a:b.png", b"a\\b.png", b"CON.png", b"NUL.png", b"COM1.png", b"__proto__.png", b"constructor.png",
    "\U0001f468\u200d\U0001f469.png".encode(), b"a" * 251 + b".png", "\u3042".encode() * 83 + b".png", b"manifest.json.png",
    b"done-0.json.png", b".tmp-1.png.png"[1:], b"plan.json.png", b"index-0.jsonl.png", b"'quote'.png", b'"quote".png', b"a,b.png",
    b"#hash.png", b"a\x01b.png", b"\x7f.png", "\u2028.png".encode(), "\u0130.PNG".encode(), b"UPPER.PNG", b"two.png.jpg",
)  # fmt: skip


def named(name: bytes) -> Make:
    """An image of that name, in a folder of that name."""

    def make(folder: Path) -> None:
        (folder / "in").mkdir()
        where = os.fsencode(folder / "in") + b"/"
        for path in (where + name, where + b"plain.png"):
            Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as file:
                file.write(picture())

    return make


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""
    for i, name in enumerate(NAMES):
        yield Case(str(i), named(name), encode("in"), 0)
