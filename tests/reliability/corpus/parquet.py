"""Parquet files of odd types and claims."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

from tests.reliability.corpus.base import picture
from tests.reliability.corpus.case import Case, encode, put

BAD = (
    "damaged",
    "format",
    "layout",
    "labels",
    "input-empty",
    "option",
    "no-info",
    "memory",
    "input-duplicate",
    "not-an-image",
)


def table(**more: Any) -> bytes:
    """A file of Parquet with these columns; ``metadata`` and ``types`` are the table's."""
    import pyarrow as pa
    from pyarrow import parquet

    metadata = more.pop("metadata", None)
    made = pa.table(more)
    if metadata is not None:
        made = made.replace_schema_metadata({b"huggingface": metadata})
    file = io.BytesIO()
    parquet.write_table(made, file)
    return file.getvalue()


def images(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    """The column ``image`` as the Hub has it."""
    return [{"bytes": data, "path": path} for data, path in pairs]


def _errors() -> dict[str, Callable[[], bytes]]:
    img = picture()
    pair = images((img, "a.png"), (img, "b.png"))
    one = images((img, "a.png"))
    return {
        "label-2-40": lambda: table(image=pair, label=[2**40, 0]),
        "label-negative": lambda: table(image=pair, label=[-5, 0]),
        "label-floats": lambda: table(image=pair, label=[0.5, 1.0]),
        "label-nan": lambda: table(image=pair, label=[float("nan"), 1.0]),
        "label-lists": lambda: table(image=pair, label=[[1], [2]]),
        "label-structs": lambda: table(image=pair, label=[{"a": 1}, {"a": 2}]),
        "bytes-numbers": lambda: table(image=images((5, "a"))),
        "bytes-lists": lambda: table(image=images(([1, 2], "a"))),
        "image-number": lambda: table(image=[5]),
        "image-list": lambda: table(image=[[1, 2, 3]]),
        "image-bool": lambda: table(image=[True]),
        "no-image": lambda: table(text=["a"]),
        "no-columns": lambda: table(),
        "no-rows": lambda: table(image=[]),
        "metadata-deep": lambda: table(image=one, label=[0], metadata=b"[" * 100_000),
    }


def _fine() -> dict[str, Callable[[], bytes]]:
    img = picture()
    one = images((img, "a.png"))
    return {
        "path-numbers": lambda: table(image=images((img, 5))),
        "plain": lambda: table(image=one),
        "binary": lambda: table(image=[img]),
        "metadata-none": lambda: table(image=one, label=[0], metadata=b"null"),
        "metadata-text": lambda: table(image=one, label=[0], metadata=b"{"),
        "metadata-list": lambda: table(image=one, label=[0], metadata=b"[]"),
        "metadata-number": lambda: table(image=one, label=[0], metadata=b'{"info": 5}'),
        "metadata-binary": lambda: table(image=one, label=[0], metadata=bytes(range(128, 256))),
    }


def cases(seed: int) -> Iterator[Case]:
    """Cuts and flips are at fixed places."""
    try:
        whole = table(image=images((picture(), "a.png"), (picture(1), "b.png")), label=[0, 1])
    except ImportError:
        return
    for name, data in _errors().items():
        code = 0 if name.startswith(("metadata", "label")) else 1  # what is no label is none, and told
        yield Case(
            name,
            lambda folder, d=data: put("s.parquet", d())(folder),
            encode("s.parquet"),
            code,
            BAD,
            "s.parquet",
        )
    for name, data in _fine().items():
        yield Case(
            f"fine-{name}", lambda folder, d=data: put("s.parquet", d())(folder), encode("s.parquet"), 0
        )
    for name, bad, reasons in (("null", None, ("empty-file", "missing")), ("empty", b"", ("empty-file",)), ("text", b"hello", ("not-an-image",)),
                               ("cut", picture()[:50], ("truncated", "damaged"))):  # fmt: skip
        data = images((picture(), "a.png"), (bad, "b.png"))
        yield Case(
            f"row-{name}",
            lambda folder, d=data: put("s.parquet", table(image=d))(folder),
            encode("s.parquet"),
            3,
            reasons,
        )
    for name, data in (("empty", b""), ("magic", b"PAR1"), ("magic-twice", b"PAR1PAR1"), ("text", b"hello"), ("zeros", bytes(5000)),
                       ("footer-lies", b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1"), ("footer-zero", b"PAR1" + bytes(4) + b"PAR1"),
                       ("png", picture()), ("html", b"<!DOCTYPE html>" * 20)):  # fmt: skip
        yield Case(f"file-{name}", put("s.parquet", data), encode("s.parquet"), 1, BAD, "s.parquet")
    for percent in (10, 50, 90, 99):
        yield Case(
            f"cut-{percent}",
            put("s.parquet", whole[: len(whole) * percent // 100]),
            encode("s.parquet"),
            1,
            BAD,
            "s.parquet",
        )
