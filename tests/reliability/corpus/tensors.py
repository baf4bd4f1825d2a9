"""Files of safetensors, as published weights and as a codebook's features."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

from tests.reliability.corpus.case import Case, put

BAD = ("damaged", "layout", "format", "not-finite", "input-empty")


def file(header: bytes | dict[str, object], data: bytes = b"", length: int | None = None) -> bytes:
    """A file whose header may be anything."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype: str = "F32", shape: object = (2, 2), offsets: object = (0, 16)) -> dict[str, object]:
    """An entry of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


DATA = bytes(16)
FILES: dict[str, bytes] = {
    "empty": b"",
    "seven-bytes": b"1234567",
    "length-2-63": struct.pack("<Q", 1 << 63) + b"{}",
    "length-beyond": file(b"{}", length=1000),
    "length-zero": file(b""),
    "length-100-mb": struct.pack("<Q", 100_000_001) + b"{}",
    "not-json": file(b"hello"),
    "not-utf8": file(b'{"\xff": 1}'),
    "array": file(b"[]"),
    "no-tensors": file(b"{}"),
    "twice-same": file(
        b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}',
        DATA,
    ),
    "overlap": file({"a": tensor(), "b": tensor(offsets=(8, 24))}, bytes(24)),
    "hole": file({"a": tensor(offsets=(8, 24))}, bytes(24)),
    "trailing": file({"a": tensor()}, bytes(20)),
    "short": file({"a": tensor()}, bytes(10)),
    "shape-overflow": file({"a": tensor(shape=(2**40, 2**40))}, DATA),
    "shape-mismatch": file({"a": tensor(shape=(3, 3))}, DATA),
    "shape-negative": file({"a": tensor(shape=(-2, -2))}, DATA),
    "shape-text": file({"a": tensor(shape="x")}, DATA),
    "shape-null": file({"a": tensor(shape=None)}, DATA),
    "offsets-reversed": file({"a": tensor(offsets=(16, 0))}, DATA),
    "offsets-one": file({"a": tensor(offsets=(0,))}, DATA),
    "offsets-huge": file({"a": tensor(offsets=(0, 2**63))}, DATA),
    "dtype-unknown": file({"a": tensor("F33")}, DATA),
    "dtype-number": file({"a": tensor(5)}, DATA),  # type: ignore[arg-type]
    "zero-huge": file({"a": tensor(shape=(0, 2**62), offsets=(0, 0))}),
    "metadata-number": file({"__metadata__": {"a": 5}, "a": tensor()}, DATA),
    "metadata-list": file({"__metadata__": [], "a": tensor()}, DATA),
    "deep": file(b"[" * 100_000),
    "deep-entry": file(b'{"a":' * 50_000),
    "many": file({f"k{i}": tensor(shape=(0,), offsets=(0, 0)) for i in range(60_000)}),
    "bom": file(b"\xef\xbb\xbf{}"),
    "name-controls": file({"a\n\0": tensor()}, DATA),
    "name-up": file({"../../x": tensor()}, DATA),
    "name-long": file({"x" * 100_000: tensor()}, DATA),
    "fp8": file({"a": tensor("F8_E4M3", (4, 4))}, DATA),
    "entry-number": file({"a": 5}, DATA),
    "zeros": bytes(4096),
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
    "html": b"<!DOCTYPE html><html><body>Not Found</body></html>",
    "zip": b"PK\5\6" + bytes(18),
    "gzip": b"\x1f\x8b\x08" + bytes(100),
    "unknown-keys": file({"encoder.x": tensor()}, DATA),
    "many-unknown": file({f"a.{i}.weight": tensor(shape=(0,), offsets=(0, 0)) for i in range(20_000)}),
}


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""
    for name, data in FILES.items():
        yield Case(
            f"import-{name}",
            put("m.safetensors", data),
            ("import", "m.safetensors", "-o", "out", "--json"),
            1,
            BAD,
            "m.safetensors",
        )
    for name in ("empty", "not-json", "length-beyond", "shape-overflow", "many", "html", "zeros"):
        yield Case(
            f"info-{name}",
            put("m.safetensors", FILES[name]),
            ("info", "m.safetensors", "--json"),
            1,
            BAD,
            "m.safetensors",
        )
