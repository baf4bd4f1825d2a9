"""Token files: arrays and what is told beside them, each for ``decode`` and ``usage-report``."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.reliability.corpus.case import Case, Make, decode, put
from tests.reliability.corpus.folders import base_of
from tests.reliability.corpus.npz import ARRAYS, head, npy

BAD = ("damaged", "format", "no-info", "token-range", "grid", "fingerprint", "input-empty", "unsafe", "layout", "wrong-kind",
       "labels", "unfinished", "changed")  # fmt: skip
VALUES: tuple[Any, ...] = (5, -1, None, "x", [], {}, True, 2**70, 1.5, [[]], "x" * 5000)
KEYS = ("format", "codebook_size", "fingerprint", "grid", "keys", "labels", "classes", "sha256", "views")
HARMLESS = {
    ("codebook_size", 5),
    ("views", 5), ("labels", None), ("classes", None), ("fingerprint", "x"), ("fingerprint", "x" * 5000),
    ("sha256", None), ("format", True), ("fingerprint", None), ("codebook_size", None), ("format", None),
}  # fmt: skip
"""They may be so, or are other tokens' (which ``decode`` refuses for that)."""


def whole(folder: Path) -> None:
    """The tokens of the base, beside what is changed."""
    base = base_of(folder)
    shutil.copy(base / "tokens.npy", folder / "t.npy")
    shutil.copy(base / "tokens.json", folder / "t.json")


def told(change: Callable[[dict[str, Any]], object]) -> Make:
    """Tokens with another description, whose seal is gone as in older files."""

    def make(folder: Path) -> None:
        whole(folder)
        found = json.loads((folder / "t.json").read_text())
        found.pop("seal", None)
        change(found)
        (folder / "t.json").write_text(json.dumps(found))

    return make


def raw(data: bytes) -> Make:
    """Tokens whose description is these bytes."""

    def make(folder: Path) -> None:
        whole(folder)
        (folder / "t.json").write_bytes(data)

    return make


def array(data: bytes) -> Make:
    """Tokens whose array is these bytes, and the hash that goes with them."""

    def make(folder: Path) -> None:
        import hashlib

        told(lambda found: found.update(sha256=hashlib.sha256(data).hexdigest()))(folder)
        (folder / "t.npy").write_bytes(data)

    return make


def ids(values: list[int], kind: str = "<i8", shape: str = "(10, 2, 2)") -> bytes:
    """An array of tokens."""
    code = {"<i8": "q", "|u1": "B", "<i4": "i", "<f4": "f"}[kind]
    return npy(head(shape, kind), struct.pack(f"<{len(values)}{code}", *values))


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""
    for name, data in ARRAYS.items():
        yield Case(f"npy-{name}", array(data), decode("t.npy"), 1, BAD, "t.npy")
        if name in (
            "object",
            "shape-2-40",
            "code-in-header",
            "header-of-4-gb",
            "void",
            "empty",
            "short",
            "pickle",
        ):
            command = ("usage-report", "t.npy", "--json")
            yield Case(f"usage-{name}", array(data), command, 1, BAD, "t.npy")
    for key in KEYS:
        for i, value in enumerate(VALUES):
            plain = not isinstance(value, list | dict)
            if plain and ((key, value) in HARMLESS):
                continue
            if (key, value) in (("labels", []), ("classes", []), ("rejected", []), ("keys", [])):
                continue
            make = told(lambda found, key=key, value=value: found.update({key: value}))
            yield Case(f"json-{key}-{i}", make, decode("t.npy"), 1, BAD, "t.")
    for name, data in (("empty", b""), ("half", b'{"format": 1, '), ("list", b"[]"), ("null", b"null"), ("deep", b"[" * 100_000),
                       ("nan", b'{"format": NaN}'), ("digits", b'{"format": ' + b"9" * 5000 + b"}"), ("utf-16", '{"format": 1}'.encode("utf-16")),
                       ("binary", bytes(range(256))), ("zeros", bytes(1000))):  # fmt: skip
        yield Case(f"told-{name}", raw(data), decode("t.npy"), 1, BAD, "t.json")
    count = 10
    surrogates = told(
        lambda found: found.update(keys=[chr(0xD800) + str(i) for i in range(len(found["keys"]))])
    )
    yield Case("keys-surrogates", surrogates, decode("t.npy"), 1, ("damaged",), "t.json")
    for name, key in (
        ("up", "../../x"),
        ("absolute", "/tmp/x"),
        ("long", "x" * 5000),
        ("nul", "a\0b"),
        ("empty", ""),
        ("newline", "a\nb"),
    ):
        make = told(lambda found, key=key: found.update(keys=[key, *found["keys"][1:]]))
        yield Case(
            f"key-{name}",
            make,
            decode("t.npy"),
            0,
            ("damaged", "output", "format"),
        )
    twice = told(lambda found: found.update(keys=[found["keys"][0]] * len(found["keys"])))
    yield Case("keys-same", twice, decode("t.npy"), 1, ("damaged", "input-duplicate"), "t.json")
    for name, change in (("too-few", lambda found: found["keys"].pop()), ("too-many", lambda found: found["keys"].append("z")),
                         ("numbers", lambda found: found.update(keys=list(range(count)))),
                         ("labels-too-few", lambda found: found.update(labels=[0])),
                         ("labels-words", lambda found: found.update(labels=["a"] * count)),
                         ("labels-beyond", lambda found: found.update(labels=[99] * count, classes=["a", "b"])),
                         ("labels-negative", lambda found: found.update(labels=[-7] * count)),
                         ("grid-other", lambda found: found.update(grid=[[4, 4]])),
                         ("grid-huge", lambda found: found.update(grid=[[10**9, 10**9]])),
                         ("format-99", lambda found: found.update(format=99)),
                         ("codes-fewer", lambda found: found.update(codebook_size=2)),
                         ("fingerprint-other", lambda found: found.update(fingerprint="0" * 64))):  # fmt: skip
        code = 0 if name == "codes-fewer" else 1  # decode goes by the model's own
        yield Case(f"told-{name}", told(change), decode("t.npy"), code, BAD)
    for name, values, kind in (("beyond", [16] + [0] * 39, "<i8"), ("negative", [-1] + [0] * 39, "<i8"), ("2-31", [2**31] + [0] * 39, "<i8"),
                               ("middle", [0] * 20 + [200] + [0] * 19, "|u1"), ("floats", [0] * 40, "<f4")):  # fmt: skip
        yield Case(f"id-{name}", array(ids(values, kind)), decode("t.npy"), 1, BAD, "t.npy")
    yield Case("extra-bytes", array(ids([0] * 40) + b"junk"), decode("t.npy"), 1, ("damaged",), "t.npy")
    yield Case("other-grid", array(ids([0] * 40, shape="(10, 4, 1)")), decode("t.npy"), 1, BAD)
    yield Case("other-count", array(ids([0] * 36, shape="(9, 2, 2)")), decode("t.npy"), 1, BAD)
    yield Case("cut", _cut, decode("t.npy"), 1, ("damaged",), "t.npy")
    yield Case(
        "without-told",
        put("t.npy", ids([0] * 40)),
        decode("t.npy"),
        0,
    )
    for name in ("plan.json", "index.json", "tokens-00000.jsonl", "tokens-00000.safetensors"):
        for what, data in (("empty", b""), ("half", b'{"a": '), ("deep", b"[" * 100_000), ("list", b"[]"), ("digits", b'{"a": ' + b"9" * 5000 + b"}"),
                           ("nan", b'{"a": NaN}'), ("gone", None), ("binary", bytes(range(256)))):  # fmt: skip
            yield Case(f"folder-{name}-{what}", _folder(name, data), decode("t"), 1, (*BAD, "input-missing"))


def _cut(folder: Path) -> None:
    whole(folder)
    path = folder / "t.npy"
    path.write_bytes(path.read_bytes()[:-5])


def _folder(name: str, data: bytes | None) -> Make:
    def make(folder: Path) -> None:
        shutil.copytree(base_of(folder) / "tokens", folder / "t")
        (folder / "t" / name).unlink()
        if data is not None:
            (folder / "t" / name).write_bytes(data)

    return make
