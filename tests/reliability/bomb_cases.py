"""The files, how each is made, and what reads it."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vqcli import files
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.images.base import StoredSource
from vqcli.data.images.open import open_source
from vqcli.data.tokens.files import open_tokens
from vqcli.errors import BadImage
from vqcli.importers.containers import read_checkpoint
from vqcli.importers.shards import read_index
from vqcli.yaml_text import read_yaml

MUCH = 2_500_000_000


@dataclass(frozen=True)
class Bomb:
    """A file, and what may come of it."""

    name: str
    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    reasons: frozenset[str]
    """Of the errors that may come; ``""`` stands for none."""


def images(path: Path) -> None:
    """All images of what a path names, those that cannot be used left out."""
    source = open_source(str(path))
    for i in range(len(source)):
        try:
            source.read(i) if isinstance(source, StoredSource) else source[i]
        except BadImage:
            continue


def sparse(size: int = MUCH) -> Callable[[Path], None]:
    """A file of zeros that takes no room."""

    def make(path: Path) -> None:
        path.touch()
        os.truncate(path, size)

    return make


def text(data: bytes, times: int = 1, before: bytes = b"", after: bytes = b"") -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.write(before)
            for at in range(0, times, 100_000):
                file.write(data * min(100_000, times - at))
            file.write(after)

    return make


def zipped(pickled: bytes, **more: bytes) -> Callable[[Path], None]:
    """As ``torch.save`` writes it."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {"data.pkl": pickled, "byteorder": b"little", **more}.items():
                archive.writestr(f"archive/{name}", data)

    return make


def legacy(pickled: bytes) -> Callable[[Path], None]:
    """As ``torch.save`` wrote it before."""
    head = b"".join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    return text(head + pickled + pickle.dumps([], 2))


def number(value: int) -> bytes:
    """A number, in a pickle."""
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def word(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def pickles() -> Iterator[tuple[str, bytes]]:
    """Short ones that ask for much, and long ones."""
    n = number(MUCH)
    yield "bytearray", b"\x80\x02cbuiltins\nbytearray\n" + n + b"\x85R."
    yield "bytearray-of-python-2", b"\x80\x02c__builtin__\nbytearray\n" + n + b"\x85R."
    yield "storage", b"\x80\x02ctorch.storage\nUntypedStorage\n" + n + b"\x85R."
    yield "tensor", b"\x80\x02ctorch\nFloatTensor\n" + n + b"\x85R."
    chain = b"c_codecs\nencode\n" * 28 + word("ab") + word("utf-8") + b"\x86R"
    yield "doubling", b"\x80\x02" + chain + (word("hex") + b"\x86R") * 27 + b"."
    yield "many-dicts", b"\x80\x02" + b"}" * 20_000_000 + b"."
    yield "many-sets", b"\x80\x02" + b"\x8f" * 3_900_000 + b"."
    yield "many-calls", b"\x80\x02ctorch\nSize\nq\0" + b"h\0)R" * 2_000_000 + b"."
    yield "long-text", b"\x80\x02X" + struct.pack("<I", 0xFFFFFFF0) + b"a."
    yield "longer-text", b"\x80\x02\x8d" + struct.pack("<Q", 1 << 62) + b"a."
    expanded = (
        b"\x80\x02ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n(ctorch._utils\n_rebuild_tensor_v2\n(("
        + word("storage") + b"ctorch\nFloatStorage\n" + word("0") + word("cpu") + b"K\x01tQK\0"
        + number(MUCH) + b"\x85K\0\x85\x89}tRctorch\nfloat64\n" + word("cpu") + b"\x89tR."
    )  # fmt: skip
    yield "expanded", expanded


def checkpoints() -> Iterator[Bomb]:
    refused = frozenset({"memory", "damaged", "unsafe", "layout", "format"})
    for name, data in pickles():
        whole = zipped(data, **{"version": b"3\n", "data/0": b"\0\0\0\0"})
        yield Bomb(f"pickle/{name}", "x.pt", whole, read_checkpoint, refused)
        yield Bomb(f"old-pickle/{name}", "x.pt", legacy(data), read_checkpoint, refused)

    def entries(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for i in range(210_000):
                archive.writestr(zipfile.ZipInfo(f"archive/data/{i}"), b"")

    def deflated(path: Path) -> None:
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("archive/data.pkl", "w") as file,
        ):
            for _ in range(300):
                file.write(bytes(1 << 20))

    yield Bomb("zip/entries", "x.pt", entries, read_checkpoint, refused)
    yield Bomb("zip/deflated", "x.pt", deflated, read_checkpoint, refused)
    for name, length in {"long": 100 << 20, "endless": 1 << 62, "negative": (1 << 64) - 1}.items():
        header = text(struct.pack("<Q", length) + b"{" + b" " * 1000)
        yield Bomb(f"header/{name}", "x.safetensors", header, read_checkpoint, refused)

    def long_header(path: Path) -> None:
        text(b" ", 100 << 20, struct.pack("<Q", (100 << 20) + 2) + b"{", b"}")(path)

    def many(count: int) -> Callable[[Path], None]:
        entry = '"k{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
        header = ("{" + ",".join(entry.format(i) for i in range(count)) + "}").encode()
        return text(struct.pack("<Q", len(header)) + header)

    yield Bomb("header/of-100-MB", "x.safetensors", long_header, read_checkpoint, refused)
    for count in (60_000, 300_000):
        yield Bomb(f"header/of-{count}-tensors", "x.safetensors", many(count), read_checkpoint, refused)
    index = text(b'"k":"f",', 15_000_000, b'{"weight_map":{', b'"l":"f"}}')
    yield Bomb("index/long", "x.safetensors.index.json", index, read_index, refused)


def shards() -> Iterator[Bomb]:
    refused = frozenset({"memory", "damaged", "input-empty", "format"})
    struct_ = pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])

    def repeated(size: int, rows: int) -> Callable[[Path], None]:
        def make(path: Path) -> None:
            values = pa.array([{"bytes": bytes(size), "path": "x"}], struct_)
            table = pa.concat_tables([pa.table({"image": values})] * rows)
            pq.write_table(table, path, compression="zstd", use_dictionary=False)

        return make

    def nulls(rows: int) -> Callable[[Path], None]:
        def make(path: Path) -> None:
            table = pa.table({"image": pa.nulls(rows, pa.binary()), "label": pa.nulls(rows, pa.int8())})
            pq.write_table(table, path, row_group_size=rows)

        return make

    def dictionary(path: Path) -> None:
        values = pa.array([bytes(20_000_000)], pa.binary())
        column = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), values)
        pq.write_table(pa.table({"image": column}), path, compression="zstd")

    yield Bomb("parquet/values", "x.parquet", repeated(80_000_000, 8), images, refused | {""})
    yield Bomb("parquet/dictionary", "x.parquet", dictionary, images, refused | {""})
    yield Bomb("parquet/rows", "x.parquet", nulls(20_000_000), images, refused)

    def npz(dtype: str, shape: tuple[int, ...], name: str = "arr_0") -> Callable[[Path], None]:
        def make(path: Path) -> None:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                if name != "arr_0":
                    with archive.open("arr_0.npy", "w") as file:
                        np.lib.format.write_array(file, np.zeros((shape[0], 1, 1, 3), np.uint8))
                with archive.open(f"{name}.npy", "w") as file:
                    header = {"descr": dtype, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
                    for at in range(0, size, 1 << 20):
                        file.write(bytes(min(1 << 20, size - at)))

        return make

    yield Bomb("npz/images", "x.npz", npz("|u1", (5000, 256, 256, 3)), images, refused)
    yield Bomb("npz/labels", "x.npz", npz("<U100", (2_000_000,), "arr_1"), images, refused)

    def member(name: bytes, size: int, letter: bytes = b"0") -> bytes:
        header = bytearray(512)
        header[: len(name)] = name
        header[100:108], header[124:136] = b"0000644\0", b"%011o\0" % size
        header[156:157], header[257:265], header[148:156] = letter, b"ustar\x0000", b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        return bytes(header)

    def tar(*parts: tuple[bytes, int]) -> Callable[[Path], None]:
        def make(path: Path) -> None:
            with path.open("wb") as file:
                for header, size in parts:
                    file.write(header)
                    file.seek(-(-size // 512) * 512, os.SEEK_CUR)
                file.write(bytes(1024))

        return make

    yield Bomb("tar/picture", "x.tar", tar((member(b"a.png", MUCH), MUCH)), images, refused | {""})
    for letter in (b"L", b"K", b"x", b"g"):
        parts = (member(b"a", MUCH, letter), MUCH), (member(b"a.png", 0), 0)
        yield Bomb(f"tar/name-{letter.decode()}", "x.tar", tar(*parts), images, refused | {""})
    for ending in ("json", "cls", "txt"):
        beside = tar((member(f"a.{ending}".encode(), MUCH), MUCH), (member(b"a.png", 0), 0))
        yield Bomb(f"tar/{ending}", "x.tar", beside, images, refused | {""})


def texts() -> Iterator[Bomb]:
    refused = frozenset(
        {"memory", "damaged", "format", "config", "wrong-kind", "input-missing", "input-empty"}
    )
    readers: dict[str, tuple[str, Callable[[Path], object]]] = {
        "list": ("x.txt", images),
        "table": ("x.csv", images),
        "recipe": ("x.yaml", read_yaml),
        "json": ("x.json", files.read_json),
        "index": ("x.safetensors.index.json", read_index),
        "model": ("m/config.json", lambda path: load_tokenizer(path.parent, torch.device("cpu"))),
        "tokens": ("t/plan.json", lambda path: open_tokens(path.parent)),
        "weights": ("x.safetensors", read_checkpoint),
        "pickle": ("x.pt", read_checkpoint),
        "array": ("x.npy", open_tokens),
        "tar": ("x.tar", images),
        "npz": ("x.npz", images),
        "parquet": ("x.parquet", images),
    }

    def zero(path: Path) -> None:
        path.symlink_to("/dev/zero")

    makers: dict[str, Callable[[Path], object]] = {"pipe": os.mkfifo, "zeros": zero, "sparse": sparse()}
    for reader, (file, read) in readers.items():
        for maker, make in makers.items():

            def within_folder(path: Path, make: Callable[[Path], object] = make) -> None:
                path.parent.mkdir(exist_ok=True)
                make(path)

            yield Bomb(f"{maker}/{reader}", file, within_folder, read, refused)
    yield Bomb("json/lists", "x.json", text(b"[],", 5_000_000, b"[", b"0]"), files.read_json, refused | {""})
    names = text(b"[],", 60_000_000, b"[", b"0]")
    yield Bomb("json/of-names", "x.json", names, lambda path: files.read_json(path, files.LISTS), refused)
    yield Bomb("json/nested", "x.json", text(b"[", 10_000_000), files.read_json, refused)
    yield Bomb("json/digits", "x.json", text(b"9", 10_000_000), files.read_json, refused)
    yield Bomb("list/one-line", "x.txt", text(b"a", 200_000_000), images, refused | {""})
    yield Bomb("list/empty-lines", "x.txt", text(b"\n", 200_000_000), images, refused)
    yield Bomb("list/short-lines", "x.txt", text(b"a\n", 50_000_000), images, refused | {"input-duplicate"})


def bombs() -> Iterator[Bomb]:
    for kind in (checkpoints, shards, texts):
        yield from kind()
