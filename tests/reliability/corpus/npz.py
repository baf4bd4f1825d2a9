"""Images in an ``.npz``: headers that lie, members that are none."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.reliability.corpus.case import Case, encode, put

BAD = ("damaged", "format", "unsafe", "input-empty", "labels", "layout", "input-missing")


def npy(
    header: str | bytes, data: bytes = b"", version: bytes = b"\x01\0", claim: int | None = None
) -> bytes:
    """An array of numpy whose header may be anything."""
    text = header if isinstance(header, bytes) else header.encode()
    size = struct.pack("<H" if version == b"\x01\0" else "<I", len(text) if claim is None else claim)
    return b"\x93NUMPY" + version + size + text + data


def head(shape: str, kind: str = "|u1", order: str = "False") -> str:
    """The header of an array."""
    return f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}\n"


def archive(members: dict[str, bytes], compressed: bool = False) -> bytes:
    """A zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return file.getvalue()


FINE = npy(head("(2, 8, 8, 3)"), bytes(384))
ARRAYS: dict[str, bytes] = {
    "short": npy(head("(2, 8, 8, 3)"), bytes(300)),
    "empty": b"",
    "magic-only": b"\x93NUMPY",
    "not-numpy": b"hello",
    "version-9": npy(head("(2, 8, 8, 3)"), bytes(384), b"\x09\0"),
    "shape-2-40": npy(head("(1099511627776, 8, 8, 3)"), bytes(384)),
    "shape-overflow": npy(head("(4294967296, 4294967296, 8, 3)"), bytes(384)),
    "shape-wraps-to-zero": npy(head("(4294967296, 4294967296, 4294967296, 3)"), bytes(384)),
    "shape-negative": npy(head("(-1, 8, 8, 3)"), bytes(384)),
    "shape-bool": npy(head("(True, 8, 8, 3)"), bytes(384)),
    "shape-float": npy(head("(2.0, 8, 8, 3)"), bytes(384)),
    "shape-digits": npy(head(f"({'9' * 5000}, 8, 8, 3)"), bytes(384), b"\x02\0"),
    "shape-none": npy(head("None"), bytes(384)),
    "shape-zero": npy(head("(0, 8, 8, 3)")),
    "sides-zero": npy(head("(2, 0, 0, 3)")),
    "grey": npy(head("(2, 8, 8)"), bytes(128)),
    "four-channels": npy(head("(2, 8, 8, 4)"), bytes(512)),
    "floats": npy(head("(2, 8, 8, 3)", "<f4"), bytes(1536)),
    "int64": npy(head("(2, 8, 8, 3)", "<i8"), bytes(3072)),
    "object": npy(head("(2, 8, 8, 3)", "|O"), bytes(3072)),
    "void": npy(head("(2, 8, 8, 3)", "|V2000000000"), bytes(384)),
    "kind-unknown": npy(head("(2, 8, 8, 3)", "|z9"), bytes(384)),
    "code-in-header": npy("__import__('os').system('touch x')\n"),
    "deep-header": npy("(" * 2000 + ")" * 2000 + "\n", version=b"\x02\0"),
    "header-of-4-gb": npy("{}", version=b"\x02\0", claim=2**32 - 1),
    "header-of-20-kb": npy(head("(2, 8, 8, 3)") + " " * 20_000, bytes(384), b"\x02\0"),
    "header-list": npy("[]\n"),
    "header-no-utf8": npy(b"\xff\xfe\n"),
    "pickle": b"\x80\x04cos\nsystem\n(S'touch x'\ntR.",
}
LABELS: dict[str, bytes] = {
    "too-few": npy(head("(1,)", "<i8"), bytes(8)),
    "too-many": npy(head("(9,)", "<i8"), bytes(72)),
    "two-dimensions": npy(head("(2, 2)", "<i8"), bytes(32)),
    "object": npy(head("(2,)", "|O"), bytes(16)),
    "cut": npy(head("(2,)", "<i8"), bytes(3)),
    "words-of-2-gb": npy(head("(2,)", "<U500000000"), bytes(16)),
}


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""
    for name, data in ARRAYS.items():
        for compressed in (False, True):
            whole = archive({"arr_0.npy": data}, compressed)
            yield Case(f"{name}{'-z' * compressed}", put("s.npz", whole), encode("s.npz"), 1, BAD, "s.npz")
    for name, data in LABELS.items():
        whole = archive({"arr_0.npy": FINE, "arr_1.npy": data})
        yield Case(f"labels-{name}", put("s.npz", whole), encode("s.npz"), 1, BAD, "s.npz")
    floats = npy(head("(2,)", "<f4"), struct.pack("<ff", 0.5, float("nan")))  # no classes, which is told
    whole = archive({"arr_0.npy": FINE, "arr_1.npy": floats})
    yield Case("labels-floats", put("s.npz", whole), encode("s.npz"), 0)
    fine = archive({"arr_0.npy": FINE})
    yield Case("good", put("s.npz", fine), encode("s.npz"), 0)
    yield Case("good-compressed", put("s.npz", archive({"arr_0.npy": FINE}, True)), encode("s.npz"), 0)
    yield Case("bomb", _bomb, encode("s.npz"), 1,
               (*BAD, "memory", "size"), "s.npz")  # fmt: skip
    odd = {
        "no-array": archive({"x.txt": b"hello"}), "empty-zip": archive({}), "other-name": archive({"images.npy": FINE}),
        "text": b"hello", "zeros": bytes(5000), "cut": fine[:-30], "half": fine[: len(fine) // 2], "empty": b"",
        "central-lies": fine.replace(b"PK\1\2", b"PK\1\3"), "up": archive({"../arr_0.npy": FINE}),
        "crc": fine.replace(bytes(100), bytes(99) + b"\1", 1), "single-array": FINE,
    }  # fmt: skip
    for name, data in odd.items():
        yield Case(f"zip-{name}", put("s.npz", data), encode("s.npz"), 1, BAD, "s.npz")


def _bomb(folder: Path) -> None:
    """3 GB of zeros."""
    with (
        zipfile.ZipFile(folder / "s.npz", "w", zipfile.ZIP_DEFLATED) as made,
        made.open("arr_0.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy(head("(250036, 64, 64, 3)")))
        for _ in range(2930):
            member.write(bytes(1 << 20))
