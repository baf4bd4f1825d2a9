"""Tar shards: cut, damaged, of odd members and labels."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Iterator

from tests.reliability.corpus.base import picture
from tests.reliability.corpus.case import Case, encode, put

BAD = ("damaged", "input-empty", "format", "layout", "labels")


def shard(members: list[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT, **kinds: bytes) -> bytes:
    """A tar; ``kinds`` gives the type of members by name, with dots as ``_``."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kinds.get(name.replace(".", "_"), tarfile.REGTYPE)
            if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname, info.size = "/etc/passwd", 0
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def resummed(data: bytes, at: int, new: bytes) -> bytes:
    """A tar with other bytes in its first header, and the checksum that goes with them."""
    head = bytearray(data[:512])
    head[at : at + len(new)] = new
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data[512:]


def cases(seed: int) -> Iterator[Case]:
    """Flips are drawn by the seed."""
    ten = [(f"{i:03}.png", picture(i)) for i in range(10)]
    whole = shard(ten)
    used = len(whole.rstrip(b"\0"))
    blocks = list(range(512, used, 512))
    for n in blocks[:: max(1, len(blocks) // 18)]:
        yield Case(f"cut-{n}", put("s.tar", whole[:n]), encode("s.tar"), 1, ("damaged",), "s.tar")
    for n in (1, 100, 511, 700, used - 3):
        yield Case(
            f"cut-inside-{n}", put("s.tar", whole[:n]), encode("s.tar"), 1, ("damaged", "format"), "s.tar"
        )
    for name, data in (("empty", b""), ("zeros", bytes(10240)), ("one-zero-block", bytes(512))):
        yield Case(name, put("s.tar", data), encode("s.tar"), 1, BAD, "s.tar")
    chance = random.Random(seed)
    starts = [
        i for i in range(0, used, 512) if whole[i : i + 3].isdigit() and whole[i + 257 : i + 262] == b"ustar"
    ]
    for i in range(8):
        data = bytearray(whole)
        data[chance.choice(starts) + chance.randrange(0, 156)] ^= 1 << chance.randrange(8)
        yield Case(f"flip-header-{i}", put("s.tar", bytes(data)), encode("s.tar"), 1, BAD, "s.tar")
    for name, new in (("negative", b"\xff" * 12), ("2-70", b"\x80\0\0" + b"\x40" + bytes(8)), ("octal-junk", b"notanumber!\0"),
                      ("size-beyond", b"77777777777\0")):  # fmt: skip
        yield Case(f"size-{name}", put("s.tar", resummed(whole, 124, new)), encode("s.tar"), 1, BAD, "s.tar")
    for name, kind in (
        ("symlink", tarfile.SYMTYPE),
        ("hardlink", tarfile.LNKTYPE),
        ("fifo", tarfile.FIFOTYPE),
        ("device", tarfile.CHRTYPE),
    ):
        data = shard([*ten[:2], ("z.png", b"")], z_png=kind)
        yield Case(f"member-{name}", put("s.tar", data), encode("s.tar"), 0)
    for name in ("../../evil.png", "/abs.png", "a/../../b.png"):
        data = shard([*ten[:2], (name, picture())])
        yield Case(f"name-{len(name)}", put("s.tar", data), encode("s.tar"), 0)
    for name in ("x.pkl", "x.pyd", "x.pth"):
        yield Case(
            f"member-{name}",
            put("s.tar", shard([*ten[:2], (name, b"cos\nsystem\n(S'touch canary'\ntR.")])),
            encode("s.tar"),
            0,
        )
    yield Case(
        "same-name",
        put("s.tar", shard([ten[0], ten[0]])),
        encode("s.tar"),
        1,
        (*BAD, "input-duplicate"),
        "s.tar",
    )
    yield Case(
        "apart",
        put("s.tar", shard([("a.png", picture()), ("b.png", picture()), ("a.cls", b"1"), ("b.cls", b"0")])),
        encode("s.tar"),
        0,
    )
    for name, data in (("good-gnu", shard(ten, tarfile.GNU_FORMAT)), ("good-pax", shard(ten, tarfile.PAX_FORMAT)),
                       ("good-long", shard([("d/" * 60 + "a.png", picture())], tarfile.GNU_FORMAT))):  # fmt: skip
        yield Case(name, put("s.tar", data), encode("s.tar"), 0)
    yield Case(
        "gz",
        put("s.tar.gz", gzip.compress(whole)),
        encode("s.tar.gz"),
        1,
        ("format", "input-missing"),
        "s.tar.gz",
    )
    yield Case(
        "gz-as-tar", put("s.tar", gzip.compress(whole)), encode("s.tar"), 1, ("format", "damaged"), "s.tar"
    )
    yield Case(
        "zip-as-tar",
        put("s.tar", b"PK\5\6" + bytes(600)),
        encode("s.tar"),
        1,
        ("format", "damaged", "input-empty"),
        "s.tar",
    )
    yield Case("png-as-tar", put("s.tar", picture()), encode("s.tar"), 1, ("format", "damaged"), "s.tar")
    yield Case("tar-in-tar", put("s.tar", shard([("x.tar", whole)])), encode("s.tar"), 1, BAD, "s.tar")
    yield Case("only-texts", put("s.tar", shard([("a.txt", b"x")])), encode("s.tar"), 1, BAD, "s.tar")
    yield Case(
        "bad-member",
        put("s.tar", shard([*ten[:2], ("z.png", picture()[:40])])),
        encode("s.tar"),
        3,
        ("truncated", "damaged"),
    )
    yield Case(
        "empty-member", put("s.tar", shard([*ten[:2], ("z.png", b"")])), encode("s.tar"), 3, ("empty-file",)
    )
    for name, label in (
        ("word", b"cat"),
        ("beyond", b"9" * 30),
        ("digits", b"9" * 5000),
        ("negative", b"-1"),
        ("nul", b"\0"),
        ("empty", b""),
        ("float", b"1.5"),
    ):
        data = shard([("a.png", picture()), ("a.cls", label), ("b.png", picture(1)), ("b.cls", b"1")])
        yield Case(
            f"label-{name}",
            put("s.tar", data),
            encode("s.tar"),  # what is no label is told, and taken as none
            0,
        )
    for name, told in (
        ("half", b'{"a'),
        ("deep", b"[" * 50_000),
        ("digits", b'{"label": ' + b"9" * 5000 + b"}"),
        ("list", b"[]"),
    ):
        data = shard(
            [("a.png", picture()), ("a.json", told), ("b.png", picture(1)), ("b.json", b'{"label": 1}')]
        )
        yield Case(
            f"json-{name}",
            put("s.tar", data),
            encode("s.tar", "--label-column", "label"),
            0,
        )
