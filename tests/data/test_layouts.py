"""Thirteen ways in which images lie, with all, some or no labels, and a bad one among them: what comes of it.

Six images are encoded from every layout: ``0``, ``2`` and ``3`` are cats, ``1``, ``4`` and ``5`` are dogs.
Where some have labels, the last two have none. ``bad`` is no image.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import vqcli
from tests.jobs.encoded import options
from tests.models import make_model
from vqcli.jobs.encode import encode

CLASSES = ["cat", "dog"]
KINDS = ["cat", "dog", "cat", "cat", "dog", "dog"]
BAD = b"no image at all"
Written = list[str | None]
"""The label of each image as it is written; the last is that of the bad one."""


@dataclass
class Layout:
    """What was made, and what is to come of it."""

    images: Path
    keys: list[str]
    """In the order of the rows."""
    labels: list[int | None]
    classes: list[str] = field(default_factory=lambda: CLASSES)
    bad: list[str] = field(default_factory=list)
    """Keys that are rejected."""
    told: str = ""
    """What the screen and the files say."""
    asked: dict[str, Any] = field(default_factory=dict)
    captions: int = 0


def jpeg(i: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 256, (2, 2, 3), np.uint8)
    Image.fromarray(pixels).resize((8, 8), Image.Resampling.NEAREST).save(buffer, "JPEG")
    return buffer.getvalue()


def written(which: str) -> Written:
    """Labels of six images and of the bad one."""
    known = {"all": 7, "some": 4, "none": 0}[which]
    return [label if i < known else None for i, label in enumerate([*KINDS, "cat"])]


def numbers(labels: Written) -> list[int | None]:
    return [None if label is None else CLASSES.index(label) for label in labels]


def put(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def content(i: int) -> bytes:
    return jpeg(i) if i < 6 else BAD


def name(i: int) -> str:
    return f"{i}.jpg" if i < 6 else "bad.jpg"


def in_folders(place: Path, labels: Written, middle: str = "") -> Layout:
    """An image without a label lies outside of the class folders."""
    paths = [f"{label}/{middle}{name(i)}" if label else name(i) for i, label in enumerate(labels)]
    for i, path in enumerate(paths):
        put(place / path, content(i))
    order = sorted(range(6), key=lambda i: paths[i])
    classes = CLASSES if any(labels) else []
    return Layout(
        place, [paths[i] for i in order], [numbers(labels)[i] for i in order], classes, bad=[paths[6]]
    )


def folder(place: Path, labels: Written) -> Layout:
    return in_folders(place, labels)


def nested(place: Path, labels: Written) -> Layout:
    """The first folder is the class, however deep an image lies."""
    return in_folders(place, labels, middle="2024/spring/")


def splits(place: Path, labels: Written) -> Layout:
    """Only ``Training`` is asked for; a picture of ``val`` without a label takes none from it."""
    made = in_folders(place / "Training", labels)
    put(place / "val" / "loose.jpg", jpeg(9))
    put(place / "val" / "cat" / "9.jpg", jpeg(9))
    keys, bad = ([f"Training/{key}" for key in some] for some in (made.keys, made.bad))
    classes = made.classes or ["cat"]  # of all splits together
    return Layout(place, keys, made.labels, classes, bad, asked={"split": "train"})


def flat(place: Path, labels: Written) -> Layout:
    """Nothing tells a label but a JSON beside a picture, where it is asked for."""
    for i, label in enumerate(labels):
        put(place / name(i), content(i))
        if label:
            put((place / name(i)).with_suffix(".json"), json.dumps({"kind": label}).encode())
    asked = {"label_column": "kind"} if any(labels) else {}
    classes = CLASSES if any(labels) else []
    return Layout(place, [name(i) for i in range(6)], numbers(labels)[:6], classes, ["bad.jpg"], asked=asked)


def listed(place: Path, labels: Written) -> Layout:
    for i in range(7):
        put(place / "pictures" / name(i), content(i))
    lines = [f"pictures/{name(i)}" + (f" {label}" if label else "") for i, label in enumerate(labels)]
    text = put(place / "list.txt", "\ufeff".encode() + "\r\n".join(lines).encode())
    keys, classes = [f"pictures/{name(i)}" for i in range(6)], CLASSES if any(labels) else []
    return Layout(Path(text), keys, numbers(labels)[:6], classes, ["pictures/bad.jpg"])


def archive(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for member, data in members:
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def of_archive(path: Path, labels: Written, beside: Callable[[int, str | None], dict[str, bytes]]) -> Layout:
    """Samples of a picture each, and what lies beside it."""
    members = []
    for i, label in enumerate(labels):
        members.append((name(i), content(i)))
        members += [(f"{name(i).removesuffix('.jpg')}{end}", data) for end, data in beside(i, label).items()]
    archive(path, members)
    keys, classes = [f"{path.stem}/{name(i)}" for i in range(6)], CLASSES if any(labels) else []
    return Layout(path, keys, numbers(labels)[:6], classes, [f"{path.stem}/bad.jpg"])


def tar(place: Path, labels: Written) -> Layout:
    made = of_archive(place / "a.tar", labels, lambda i, label: {".cls": label.encode()} if label else {})
    made.images = place
    return made


def webdataset(place: Path, labels: Written) -> Layout:
    """With captions, and ``-1`` for no label."""

    def beside(i: int, label: str | None) -> dict[str, bytes]:
        return {".txt": f"picture {i}".encode(), ".json": json.dumps({"label": label or -1}).encode()}

    made = of_archive(place / "shard-000000.tar", labels, beside)
    made.asked, made.captions = {"keep": ("caption",)}, 6
    return made


def fields(i: int, label: str | None) -> dict[str, Any]:
    """As img2dataset writes them."""
    own = {"key": f"{i:09d}", "caption": f"picture {i}", "url": f"http://there/{i}", "status": "success"}
    return own | ({"kind": label} if label else {})


def downloaded_tar(place: Path, labels: Written) -> Layout:
    def beside(i: int, label: str | None) -> dict[str, bytes]:
        return {".txt": f"picture {i}".encode(), ".json": json.dumps(fields(i, label)).encode()}

    made = of_archive(place / "00000.tar", labels, beside)
    put(place / "00000_stats.json", b"{}")
    made.asked = {"keep": ("caption", "url")} | ({"label_column": "kind"} if any(labels) else {})
    made.captions, made.images = 6, place
    return made


def downloaded_files(place: Path, labels: Written) -> Layout:
    """Its folders are shards, no classes."""
    for i, label in enumerate(labels):
        stem = place / f"0000{i // 4}" / f"0000{i // 4}{i:04d}"
        put(stem.with_suffix(".jpg"), content(i))
        put(stem.with_suffix(".txt"), f"picture {i}".encode())
        put(stem.with_suffix(".json"), json.dumps(fields(i, label)).encode())
    keys = [f"0000{i // 4}/0000{i // 4}{i:04d}.jpg" for i in range(7)]
    asked = {"keep": ("caption",)} | ({"label_column": "kind"} if any(labels) else {})
    classes = CLASSES if any(labels) else []
    told = "" if any(labels) else "shards, no classes"
    return Layout(place, keys[:6], numbers(labels)[:6], classes, keys[6:], told, asked, captions=6)


def table(path: Path, columns: dict[str, Any], names: list[str] | None = None) -> Path:
    """A Parquet file, with the Hub's names of the numbers in ``label``."""
    told = {"info": {"features": {"label": {"_type": "ClassLabel", "names": names}}}} if names else {}
    made = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(told)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path)
    return path


def downloaded_parquet(place: Path, labels: Written) -> Layout:
    """A row without a picture, of a download that failed, is left out."""
    rows = [fields(i, label) | {"jpg": content(i), "kind": label} for i, label in enumerate(labels)]
    rows.append(fields(7, None) | {"jpg": None, "kind": None, "status": "failed_to_download"})
    path = table(place / "00000.parquet", {name: [row[name] for row in rows] for name in rows[0]})
    keys = [f"00000/{i:09d}" for i in range(7)]
    asked = {"keep": ("caption", "url")} | ({"label_column": "kind"} if any(labels) else {})
    classes = CLASSES if any(labels) else []
    left = "1 row without a picture"
    return Layout(path, keys[:6], numbers(labels)[:6], classes, keys[6:], left, asked, captions=6)


def hub_struct(place: Path, labels: Written) -> Layout:
    """The Hub's: bytes in the rows, names of the labels in the schema; ``-1`` is no label."""
    images = [{"bytes": content(i), "path": name(i)} for i in range(7)]
    known = [-1 if number is None else number for number in numbers(labels)]
    path = table(place / "train-00000-of-00001.parquet", {"image": images, "label": known}, CLASSES)
    keys = [f"train-00000-of-00001/{name(i)}" for i in range(6)]
    bad = ["train-00000-of-00001/bad.jpg"]
    return Layout(path.parent, keys, numbers(labels)[:6], CLASSES, bad, asked={"split": "train"})


def hub_paths(place: Path, labels: Written) -> Layout:
    """Paths in the rows, of files that lie beside; words for labels."""
    for i in range(7):
        put(place / "files" / name(i), content(i))
    images = [{"bytes": None, "path": f"files/{name(i)}"} for i in range(7)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(images, kind), "label": pa.array(labels, pa.string())}
    path = table(place / "pets.parquet", columns)
    keys, classes = [f"pets/files/{name(i)}" for i in range(6)], CLASSES if any(labels) else []
    return Layout(path, keys, numbers(labels)[:6], classes, ["pets/files/bad.jpg"])


def npz(place: Path, labels: Written) -> Layout:
    """An array holds no bad image."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    known = {"arr_1": np.array([label or "" for label in labels[:6]])} if any(labels) else {}
    place.mkdir()
    np.savez(place / "images.npz", arr_0=pixels, **known)
    keys, classes = [f"{i:06d}" for i in range(6)], CLASSES if any(labels) else []
    return Layout(place / "images.npz", keys, numbers(labels)[:6], classes)


LAYOUTS = [
    folder, nested, splits, flat, listed, tar, webdataset, downloaded_tar, downloaded_files,
    downloaded_parquet, hub_struct, hub_paths, npz,
]  # fmt: skip


class Said:
    """Progress that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, what: str, total: int | None, unit: str, done: int = 0) -> None: ...

    def advance(self, n: int = 1) -> None: ...

    def show(self, **numbers: Any) -> None: ...

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.mark.parametrize("which", ["all", "some", "none"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_what_comes_of_a_layout(
    layout: Callable[[Path, Written], Layout], which: str, model: Path, tmp_path: Path
) -> None:
    made, said = layout(tmp_path / "in", written(which)), Said()
    result = encode(options(made.images, model, **made.asked), tmp_path / "t.npy", progress=said)
    found = vqcli.read_tokens(tmp_path / "t.npy")
    assert found.keys == made.keys
    labels = [None if label < 0 else label for label in found.labels.tolist()]
    assert labels == made.labels
    assert list(found.classes) == made.classes
    assert [each["key"] for each in result.rejected] == made.bad
    assert all(each["reason"] == "not-an-image" for each in result.rejected)
    assert sum("caption" in extras for extras in found.extras) == made.captions
    screen = "\n".join(said.lines)
    if which == "some":
        assert "no label" in screen
    side = json.loads((tmp_path / "t.json").read_text())
    assert made.told in screen
    assert ("told" in side) == bool(screen)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_labels_are_left_out_where_none_are_wanted(
    layout: Callable[[Path, Written], Layout], model: Path, tmp_path: Path
) -> None:
    made = layout(tmp_path / "in", written("all"))
    asked = {name: value for name, value in made.asked.items() if name != "label_column"}
    encode(options(made.images, model, **asked, labels=False), tmp_path / "t.npy")
    found = vqcli.read_tokens(tmp_path / "t.npy")
    assert (found.keys, set(found.labels.tolist()), found.classes) == (made.keys, {-1}, ())
