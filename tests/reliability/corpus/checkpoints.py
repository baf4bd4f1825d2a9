"""Pickled checkpoints: cut, hostile, of sizes that are lies."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from tests.reliability.corpus.case import Case, put

BAD = ("damaged", "unsafe", "format", "layout", "not-finite", "input-empty", "memory")


def saved(value: Any, legacy: bool = False) -> bytes:
    """What ``torch.save`` writes."""
    import torch

    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def zipped(program: bytes, more: dict[str, bytes] | None = None, kind: int = zipfile.ZIP_STORED) -> bytes:
    """A checkpoint whose pickle is this program."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as made:
        for name, data in {"archive/data.pkl": program, "archive/version": b"3\n", **(more or {})}.items():
            made.writestr(name, data)
    return file.getvalue()


GADGETS = {
    "os-system": b"cos\nsystem\n(S'touch canary'\ntR.",
    "eval": b'cbuiltins\neval\n(S\'open("canary","w")\'\ntR.',
    "exec": b'cbuiltins\nexec\n(S\'open("canary","w")\'\ntR.',
    "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR.",
    "popen": b"csubprocess\nPopen\n(S'touch canary'\ntR.",
    "import": b"cimportlib\nimport_module\n(S'antigravity'\ntR.",
    "hub": b"ctorch.hub\nload\n(S'x/y'\nS'z'\ntR.",
    "partial": b"cfunctools\npartial\n(cos\nsystem\nS'touch canary'\ntR.",
    "inst": b"(S'touch canary'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'touch canary'\no.",
    "stack-global": b"\x80\x04\x8c\x02os\x8c\x06system\x93(\x8c\x0ctouch canary\x94tR.",
    "build": b"\x80\x02ccollections\nOrderedDict\n)R}(X\x0c\0\0\0__setstate__cos\nsystem\nub.",
    "open": b"cbuiltins\nopen\n(S'canary'\nS'w'\ntR.",
    "numpy": b'cnumpy.testing._private.utils\nrunstring\n(S\'open("canary","w")\'\n}tR.',
}
PROGRAMS = {
    "deep-lists": b"(" * 200_000 + b"l" * 200_000 + b".",
    "deep-tuples": b")" + b"\x85" * 200_000 + b".",
    "memo-2-31": b"\x80\x02]r\xff\xff\xff\x7f.",
    "unicode-2-gb": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "unicode8-2-62": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"abc.",
    "long4-1-gb": b"\x80\x02\x8b\0\0\0\x40abc.",
    "bytes8-2-62": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"abc.",
    "bytearray-6-gb": b"cbuiltins\nbytearray\n(I6000000000\ntR.",
    "bytearray8": b"\x80\x05\x96" + struct.pack("<Q", 6 << 30) + b"abc.",
    "underflow": b"\x80\x02R.",
    "unknown-opcode": b"\x80\x02\xff.",
    "no-stop": b"\x80\x02]",
    "frame-lies": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f].",
    "int-5000-digits": b"I" + b"9" * 5000 + b"\n.",
    "self-list": b"\x80\x02]q\0h\0a.",
    "empty-dict": b"\x80\x02}.",
    "none": b"N.",
    "number": b"I5\n.",
    "text": b"S'x'\n.",
    "persistent": b"\x80\x02X\x01\0\0\0xQ.",
    "storage-lies": b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuI100\ntQ.",
}


def _tensors() -> dict[str, Callable[[], Any]]:
    import torch

    rebuild = torch._utils._rebuild_tensor_v2

    class Bomb:
        def __init__(self, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> None:
            self.told = (torch.zeros(4).untyped_storage(), size, stride, offset)

        def __reduce__(self) -> Any:
            storage, size, stride, offset = self.told
            typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
            return rebuild, (typed, offset, size, stride, False, {})

    return {
        "stride-zero": lambda: {"a": Bomb((1 << 40,), (0,))},
        "stride-negative": lambda: {"a": Bomb((2,), (-1,))},
        "offset-beyond": lambda: {"a": Bomb((4,), (1,), 100)},
        "size-overflow": lambda: {"a": Bomb((1 << 40, 1 << 40), (1, 1))},
        "storage-short": lambda: {"a": Bomb((1000,), (1,))},
        "rank-70": lambda: {"a": Bomb((1,) * 70, (1,) * 70)},
        "meta": lambda: {"a": torch.zeros(4, device="meta")},
        "sparse": lambda: {"a": torch.eye(3).to_sparse()},
        "quantised": lambda: {"a": torch.zeros(4, dtype=torch.uint8)},
        "complex": lambda: {"a": torch.zeros(4, dtype=torch.complex64)},
        "unknown-keys": lambda: {"foo.weight": torch.zeros(4), "bar": torch.zeros(2, 2)},
        "many-keys": lambda: {f"k{i}": torch.zeros(1) for i in range(3000)},
        "long-key": lambda: {"x" * 100_000: torch.zeros(1)},
        "key-controls": lambda: {"a\x1b[2J\n": torch.zeros(1)},
        "key-numbers": lambda: {1: torch.zeros(1), 2: torch.zeros(2)},
        "no-tensors": lambda: {"epoch": 5},
        "tensor": lambda: torch.zeros(3),
        "list": lambda: [torch.zeros(3)],
        "nested": lambda: {"state_dict": {"state_dict": {"a": torch.zeros(1)}}},
    }


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""

    def case(name: str, data: Callable[[], bytes], ending: str = "pt") -> Case:
        file = f"m.{ending}"
        command = ("import", file, "-o", "out", "--json")
        return Case(name, lambda folder: put(file, data())(folder), command, 1, BAD, file)

    for name, program in GADGETS.items():
        yield case(f"{name}-zip", lambda p=program: zipped(p))
        yield case(f"{name}-raw", lambda p=program: p, "ckpt")
    for name, program in PROGRAMS.items():
        yield case(f"{name}-zip", lambda p=program: zipped(p))
        yield case(f"{name}-raw", lambda p=program: p, "pth")
    for name, value in _tensors().items():
        yield case(name, lambda v=value: saved(v()))
    import torch

    def plain() -> bytes:
        return saved({"a": torch.zeros(100)})

    yield case("legacy-unknown", lambda: saved({"a": torch.zeros(4)}, legacy=True))
    for percent in (0, 1, 25, 50, 75, 90, 99):
        yield case(f"cut-{percent}", lambda n=percent: plain()[: len(plain()) * n // 100])
        yield case(f"cut-legacy-{percent}", lambda n=percent: saved({"a": torch.zeros(100)}, True)[: n * 10])
    yield case("last-byte", lambda: plain()[:-1])
    yield case("crc", lambda: plain().replace(bytes(300), bytes(299) + b"\1", 1))
    yield case("encrypted", lambda: _flagged(plain()))
    yield case(
        "bomb", lambda: zipped(pickle.dumps({}), {"archive/data/0": bytes(1 << 30)}, zipfile.ZIP_DEFLATED)
    )
    yield case("two-roots", lambda: zipped(b"\x80\x02}.", {"other/data.pkl": b"\x80\x02}."}))
    yield case("up", lambda: zipped(b"\x80\x02}.", {"../evil": b"x"}))
    yield case("empty-zip", lambda: b"PK\5\6" + bytes(18))
    yield case(
        "many-members", lambda: zipped(b"\x80\x02}.", {f"archive/data/{i}": b"" for i in range(70_000)})
    )
    for name, data in (("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"),
                       ("html", b"<!DOCTYPE html><html><body>Not Found</body></html>"), ("gzip", b"\x1f\x8b\x08" + bytes(100)),
                       ("zeros", bytes(4096)), ("text", b"hello"), ("one-byte", b"\x80"), ("png", b"\x89PNG\r\n\x1a\n")):  # fmt: skip
        for ending in ("pt", "ckpt"):
            yield case(f"{name}-{ending}", lambda d=data: d, ending)


def _flagged(data: bytes) -> bytes:
    """A zip whose members say that they are encrypted."""
    whole = bytearray(data)
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = 0
        while (start := whole.find(mark, start)) >= 0:
            whole[start + at] |= 1
            start += 4
    return bytes(whole)
