"""The contract, over every registered source, with tiny real data."""

import io
import json
import pickle
import tarfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.images import save
from vqcli.data.images.base import Source
from vqcli.data.images.open import open_source
from vqcli.errors import BadImage
from vqcli.parts import PARTS
from vqcli.registry import resolve
from vqcli.types import Reading

NAMES = ["cat", "dog"]


def png(value: int) -> bytes:
    return save(Image.new("RGB", (8, 8), (value, 0, 0)), "PNG")


def make_folder(root: Path, count: int = 6) -> Path:
    for i in range(count):
        path = root / NAMES[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i))
    return root


def make_tar(
    path: Path, count: int = 6, start: int = 0, *, labels: str = "cls", form: int = tarfile.PAX_FORMAT
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for i in range(start, start + count):
            files = {f"{i:04d}.png": png(i)}
            if labels == "cls":
                files[f"{i:04d}.cls"] = b"%d\n" % (i % 2)
            elif labels == "json":
                files[f"{i:04d}.json"] = b'{"label": %d, "caption": "x"}' % (i % 2)
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def make_parquet(
    path: Path, count: int = 6, start: int = 0, *, paths: bool = True, column: str = "image"
) -> Path:
    rows = [{"bytes": png(i), "path": f"{i}.png" if paths else None} for i in range(start, start + count)]
    image = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    names = f'{{"info": {{"features": {{"label": {{"names": ["{NAMES[0]}", "{NAMES[1]}"]}}}}}}}}'
    fields = pa.schema([(column, image.type), ("label", pa.int64())], {"huggingface": names})
    table = pa.Table.from_arrays(
        [image, pa.array([i % 2 for i in range(start, start + count)])], schema=fields
    )
    pq.write_table(table, path, row_group_size=4)
    return path


def make_npz(path: Path, count: int = 6) -> Path:
    images = np.zeros((count, 8, 8, 3), np.uint8)
    images[..., 0] = np.arange(count)[:, None, None]
    np.savez(path, images, np.arange(count) % 2)
    return path


def make_list(root: Path) -> Path:
    make_folder(root)
    names = sorted(str(p.relative_to(root)) for p in root.rglob("*.png"))
    (root / "list.txt").write_text("# red squares\n" + "\n".join(names) + "\n\n")
    return root / "list.txt"


def make(kind: str, root: Path) -> str:
    made = {
        "folder": lambda: make_folder(root),
        "list": lambda: make_list(root),
        "tar": lambda: make_tar(root / "a.tar"),
        "parquet": lambda: make_parquet(root / "a.parquet"),
        "npz": lambda: make_npz(root / "a.npz"),
        "demo": lambda: "demo:6",
    }
    return str(made[kind]())


@pytest.mark.parametrize("kind", PARTS["sources"])
def test_contract(kind: str, tmp_path: Path) -> None:
    source = open_source(make(kind, tmp_path), Reading(size=(8, 8)))
    assert isinstance(source, resolve("sources", kind))
    assert len(source) == 6
    keys = [source.key(i) for i in range(6)]
    assert len(set(keys)) == 6
    forwards = [source[i] for i in range(6)]
    for i in reversed(range(6)):
        again = source[np.int64(i)]
        assert again.image.mode == "RGB"
        assert again.image.size == (8, 8)
        assert np.array_equal(np.array(again.image), np.array(forwards[i].image))
        assert (
            (again.key, again.label)
            == (source.key(i), source.label(i))
            == (forwards[i].key, forwards[i].label)
        )
        assert again.label is None or type(again.label) is int
    with pytest.raises(IndexError):
        source[6]
    copy: Source = pickle.loads(pickle.dumps(source))
    assert np.array_equal(np.array(copy[3].image), np.array(forwards[3].image))


@pytest.mark.parametrize("kind", PARTS["sources"])
def test_what_is_told_is_counted_and_can_be_written(kind: str, tmp_path: Path) -> None:
    source = open_source(make(kind, tmp_path))
    none = sum(source.label(i) is None for i in range(len(source)))
    assert source.unlabelled() == none
    assert json.loads(json.dumps(asdict(source.told)))["left_out"] == dict(source.told.left_out)
    bare = open_source(make(kind, tmp_path), Reading(labels=False))
    assert (bare.unlabelled(), bare.classes) == (len(bare), [])
    assert not any("label" in remark for remark in bare.told.remarks)


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet", "npz"])
def test_images_and_labels_belong_together(kind: str, tmp_path: Path) -> None:
    source = open_source(make(kind, tmp_path))
    assert source.classes == ([] if kind in ("tar", "npz") else NAMES)
    for i in range(6):
        red = source[i].image.getpixel((0, 0))
        assert isinstance(red, tuple)
        assert source.label(i) == red[0] % 2


def test_folder_is_sorted_and_counts_what_is_no_image(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "data", 3)
    (root / "notes.txt").write_text("x")
    (root / "cat" / ".hidden.png").write_bytes(png(9))
    (root / "cat" / "link.png").symlink_to(root / "cat" / "00.png")
    (root / "loop").symlink_to(root)
    (root / "dog" / "deep").mkdir()
    (root / "dog" / "deep" / "A.JPEG").write_bytes(png(9))
    source = open_source(str(root))
    assert [source.key(i) for i in range(len(source))] == [
        "cat/00.png",
        "cat/02.png",
        "cat/link.png",
        "dog/01.png",
        "dog/deep/A.JPEG",
    ]
    assert source.classes == NAMES
    assert source.told.lines() == ["3 files were left out: 1 .txt, 1 hidden, 1 link in a loop"]
    (root / "loose.png").write_bytes(png(9))
    source = open_source(str(root))
    assert [source.label(i) for i in range(6)] == [0, 0, 0, 1, 1, None]
    assert source.told.remarks == ("1 of 6 images has no label",)


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = b"bad\xff\n\x1b[2J.png".decode("utf-8", "surrogateescape")
    (tmp_path / name).write_bytes(png(3))
    source = open_source(str(tmp_path))
    assert source.key(0) == name
    assert source[0].image.getpixel((0, 0)) == (3, 0, 0)


def test_files_that_vanish_are_rejected(tmp_path: Path) -> None:
    source = open_source(str(make_folder(tmp_path)))
    (tmp_path / "cat" / "02.png").unlink()
    with pytest.raises(BadImage, match="missing"):
        source[1]


def test_keys_of_shards(tmp_path: Path) -> None:
    """The shard's name is always there, so that none that comes to the others changes a key."""
    make_tar(tmp_path / "in" / "a.tar", 2)
    assert keys(tmp_path / "in" / "a.tar") == ["a/0000.png", "a/0001.png"]
    make_tar(tmp_path / "in" / "b.tar", 1)
    make_tar(tmp_path / "in" / "more" / "a.tar", 1)
    wanted = ["a/0000.png", "a/0001.png", "b/0000.png", "more/a/0000.png"]
    assert keys(tmp_path / "in") == keys(tmp_path / "in" / "**" / "*.tar") == wanted
    assert keys(tmp_path / "in" / "a*.tar") == wanted[:2]
    assert keys(tmp_path / "*" / "b.tar") == ["in/b/0000.png"]
    assert keys(tmp_path / "in" / "more" / "a.tar") == ["a/0000.png"]
    make_tar(tmp_path / "in" / "A.TAR", 1)
    (tmp_path / "in" / "A.TAR").rename(tmp_path / "in" / "a.TAR")
    assert keys(tmp_path / "in") == ["a.TAR/0000.png", *wanted]
    make_parquet(tmp_path / "c.parquet", 2)
    assert keys(tmp_path / "c.parquet") == ["c/0.png", "c/1.png"]
    make_parquet(tmp_path / "c.parquet", 2, paths=False)
    assert keys(tmp_path / "*.parquet") == ["c/00000000", "c/00000001"]


def keys(path: Path) -> list[str]:
    source = open_source(str(path))
    return [source.key(i) for i in range(len(source))]


def test_keys_are_below_the_folder_that_was_named_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tar(tmp_path / "in" / "some[1]" / "in" / "a.tar", 1)
    make_tar(tmp_path / "in" / "in" / "a.tar", 1)
    assert keys(Path("in", "some[1]")) == ["in/a/0000.png"]
    assert keys(Path("in", "*", "a.tar")) == ["in/a/0000.png"]
    assert keys(Path("in", "some[1]", "in", "a.tar")) == ["a/0000.png"]


def test_demo_draws_the_same_image_whenever_it_is_asked() -> None:
    few, many = (
        open_source("demo:20", Reading(size=(16, 24))),
        open_source("demo:500", Reading(size=(16, 24))),
    )
    assert np.array_equal(np.array(few[13].image), np.array(many[13].image))
    assert few[0].image.size == (24, 16)
    pixels = {
        name: np.array(open_source("demo:20", Reading(split=name))[3].image)
        for name in ("train", "val", "test")
    }
    assert not np.array_equal(pixels["train"], pixels["test"])
    assert not np.array_equal(pixels["train"], pixels["val"])
    assert len({open_source("demo:20")[i].image.tobytes() for i in range(20)}) == 20


def test_demo_shapes_fill_a_good_part() -> None:
    """No class is a flat image: two colours stand apart by more than the light changes either."""
    source = open_source("demo:200")
    for i in range(200):
        grey = np.array(source[i].image).astype(int)
        assert (grey.max(axis=(0, 1)) - grey.min(axis=(0, 1))).max() > 60
