import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.test_sources import make_folder, make_list, make_npz, make_parquet, make_tar, png
from tests.streams import piped
from vqcli.data.holdout import holdout
from vqcli.data.images.base import Source
from vqcli.data.images.open import open_source
from vqcli.data.strings import Names
from vqcli.errors import VqcliError
from vqcli.types import Reading


def keys(source: Source) -> list[str]:
    return [source.key(i) for i in range(len(source))]


def test_demo() -> None:
    assert len(open_source("demo")) == 2000
    source = open_source("demo:30", Reading(split="val", size=(8, 12)))
    assert (len(source), source.has_splits, keys(source)[0]) == (30, True, "demo/validation/000000")
    for text in ("demo:", "demo:0", "demo:many", "demo:-1"):
        with pytest.raises(VqcliError):
            open_source(text)


def test_files_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_list(tmp_path)
    assert keys(open_source(str(path)))[:2] == ["cat/00.png", "cat/02.png"]
    assert open_source(str(path))[1].image.getpixel((0, 0)) == (2, 0, 0)
    single = str(tmp_path / "dog" / "01.png")
    assert keys(open_source(single)) == [single]
    assert len(open_source(str(tmp_path / "*" / "*.png"))) == 6
    assert len(open_source(str(tmp_path / "**" / "*"))) == 6
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", piped("cat/00.png\r\ndog/03.png\n"))
    source = open_source("-")
    assert keys(source) == ["cat/00.png", "dog/03.png"]
    assert source[1].image.getpixel((0, 0)) == (3, 0, 0)
    path.write_text("cat/00.png\ncat/00.png\n")
    with pytest.raises(VqcliError, match="twice"):
        open_source(str(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda root: "absent", "input-missing"),
        (lambda root: "absent/*.png", "input-empty"),
        (lambda root: "", "input-empty"),
        (lambda root: (root / "model.bin").write_text("x") and "model.bin", "input-empty"),
        (lambda root: (root / "list.txt").write_text("\n") and "list.txt", "input-empty"),
        (lambda root: [make_tar(root / "a.tar"), make_parquet(root / "b.parquet")][0].parent, "input-mixed"),
    ],
)
def test_nothing_usable(make, reason: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(VqcliError) as caught:
        open_source(str(tmp_path / make(tmp_path)))
    assert caught.value.reason == reason
    assert caught.value.hint


def test_shards_in_a_folder_win_over_images(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "data").mkdir()
    make_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", 4)
    make_parquet(tmp_path / "data" / "val-00000-of-00001.parquet", 3, start=10)
    everything = open_source(str(tmp_path))
    assert (len(everything), everything.splits) == (7, ("train", "validation"))
    assert keys(open_source(str(tmp_path), Reading(split="validation"))) == [
        f"data/val-00000-of-00001/{i}.png" for i in (10, 11, 12)
    ]
    assert len(open_source(str(tmp_path / "data" / "*.parquet"), Reading(split="train"))) == 4
    with pytest.raises(VqcliError, match="no split 'test'") as caught:
        open_source(str(tmp_path), Reading(split="test"))
    assert "train" in caught.value.hint


def test_an_array_file_stands_alone(tmp_path: Path) -> None:
    assert len(open_source(str(make_npz(tmp_path / "val.npz")))) == 6
    assert len(open_source(str(tmp_path / "v*.npz"), Reading(split="validation"))) == 6
    with pytest.raises(VqcliError, match="no split 'train'"):
        open_source(str(tmp_path / "v*.npz"), Reading(split="train"))
    make_npz(tmp_path / "b.NPZ.npz").rename(tmp_path / "b.NPZ")
    assert open_source(str(tmp_path / "b.NPZ")).splits == ()
    (tmp_path / "c.png").write_bytes(png(1))
    assert keys(open_source(str(tmp_path))) == ["c.png"]
    make_tar(tmp_path / "d.tar")
    for text in ("*", "[bv]*", "[bc]*", "[bd]*"):
        with pytest.raises(VqcliError, match="npz") as caught:
            open_source(str(tmp_path / text))
        assert caught.value.reason == "input-mixed"
        assert caught.value.hint


def test_split_folders(tmp_path: Path) -> None:
    make_folder(tmp_path / "train")
    make_folder(tmp_path / "val", 2)
    (tmp_path / "train" / "ant").mkdir()
    (tmp_path / "train" / "ant" / "x.png").write_bytes(png(1))
    train, val = (
        open_source(str(tmp_path), Reading(split="train")),
        open_source(str(tmp_path), Reading(split="val")),
    )
    assert (len(train), len(val), len(open_source(str(tmp_path)))) == (7, 2, 9)
    assert train.classes == val.classes == ["ant", "cat", "dog"]
    assert [val.label(i) for i in range(2)] == [1, 2]
    assert keys(val) == ["val/cat/00.png", "val/dog/01.png"]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "plane"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(1))
    source = open_source(str(tmp_path))
    assert (source.classes, source.has_splits, len(source)) == (["plane", "train"], False, 2)
    with pytest.raises(VqcliError, match="has no splits"):
        open_source(str(tmp_path), Reading(split="train"))


def test_holdout_is_stable() -> None:
    small, large = open_source("demo:400"), open_source("demo:1000")
    train, held = holdout(small, 0.1)
    assert sorted([*train, *held]) == list(range(400))
    assert 20 < len(held) < 70
    assert [i for i in holdout(large, 0.1)[1] if i < 400] == held.tolist()
    assert set(held) <= set(holdout(small, 0.3)[1])
    assert [len(part) for part in holdout(small, 0)] == [400, 0]
    assert [len(part) for part in holdout(open_source("demo:2"), 0.02)] == [1, 1]
    assert held.dtype == np.int64


def test_names_are_compact() -> None:
    texts = ["a", "", "é/ü.png", "bad\udcff", "日本" * 50]
    names = Names(texts)
    assert [names[i] for i in range(len(names))] == texts
    assert json.loads(json.dumps(names[3])) == texts[3]
    assert list(names) == names[:] == texts
    assert names[1:3] == texts[1:3]
    written = [f"class{i % 1000:04d}/image{i:08d}.{'jpg' if i % 7000 else 'bücher'}" for i in range(20_000)]
    many = Names(written)
    assert list(many) == written == [many[i] for i in range(20_000)]
    assert len(many.text) + memoryview(many.ends).nbytes < 20_000 * 40


@pytest.mark.parametrize(
    ("name", "data", "told", "hint"),
    [
        ("p.zip", b"PK\3\4", "not an image, but a zip file", "unzip"),
        ("IMG_1.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is not read: HEIC", "heif-dec"),
        ("IMG_1.MOV", b"\0\0\0\x14ftypqt  ", "is a video, no image", "ffmpeg"),
        ("0001", png(1), "is a picture (PNG) whose name does not end so", "ending .png"),
        ("p.h5", b"\x89HDF\r\n", "is HDF5, no image", ".npz"),
        ("p.dat", b"nothing", "holds no images", "give a folder"),
    ],
)
def test_a_file_of_another_kind_tells_what_it_is(
    tmp_path: Path, name: str, data: bytes, told: str, hint: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(VqcliError) as refused:
        open_source(str(tmp_path / name))
    assert told in str(refused.value)
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("https://a.org/00000.tar", "is an address", "download"),
        ("pipe:cat 00000.tar", "is an address", "download"),
        ("none/{00000..00009}.tar", "does not exist", "no wildcards"),
        ("none/{train,val}/*.tar", "holds no images", "no wildcards"),
    ],
)
def test_what_webdataset_takes_and_vqcli_does_not(text: str, told: str, hint: str) -> None:
    with pytest.raises(VqcliError, match=told) as refused:
        open_source(text)
    assert hint in (refused.value.hint or "")


def test_a_folder_of_phones_pictures_alone(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"")
    with pytest.raises(VqcliError, match="holds no images") as refused:
        open_source(str(tmp_path))
    assert "heif-dec" in (refused.value.hint or "")
