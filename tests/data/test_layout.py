"""What folders say of pictures: by names alone, and as a source."""

from pathlib import Path

import pytest

from tests.data.test_sources import make_parquet, make_tar, png
from vqcli.data.images.base import Source
from vqcli.data.images.layout import layout
from vqcli.data.images.open import open_source
from vqcli.errors import VqcliError
from vqcli.types import Reading


def pictures(root: Path, *names: str) -> Path:
    """A folder of pictures of these names; other files are empty."""
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i) if path.suffix in (".png", ".jpg") else b"")
    return root


def labels(source: Source) -> dict[str, str | int | None]:
    """The class of every key, by name where it has one."""
    known = [source.label(i) for i in range(len(source))]
    names = [
        source.classes[label] if label is not None and source.classes else label
        for label in known
    ]  # fmt: skip
    return dict(zip([source.key(i) for i in range(len(source))], names))


def classes(names: str, column: str | None = None) -> list[str | None]:
    """The class of every one of the blank-separated names."""
    listed = names.split()
    found = layout(listed, column)
    return [found.classes.get(name.rpartition("/")[0]) for name in listed]


def splits(names: str) -> list[str | None]:
    listed = names.split()
    found = layout(listed)
    return [found.splits.get(name.rpartition("/")[0]) for name in listed]


TRAIN, VAL, TEST = "train", "validation", "test"


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("train/cat/1 val/cat/1 test/1", [TRAIN, VAL, TEST]),
        ("Training/1 VALID/1 Testing/1", [TRAIN, VAL, TEST]),
        ("train2017/1 val2017/1 test2017/1", [TRAIN, VAL, TEST]),
        ("train_images/1 test-images/1 dev/1", [TRAIN, TEST, VAL]),
        ("train/1 eval/1", [TRAIN, TEST]),
        ("val/1 validation/2", [VAL, VAL]),
        ("train/cat/1", [TRAIN]),
        ("images/train/1 images/val/1", [TRAIN, VAL]),
        ("ILSVRC/Data/CLS-LOC/train/n01/1 ILSVRC/Data/CLS-LOC/val/1", [TRAIN, VAL]),
        ("DIV2K_train_HR/1 DIV2K_valid_HR/1", [TRAIN, VAL]),
        ("train/1 val/1 extra/1 cover", [TRAIN, VAL, None, None]),
        ("train/1 bus/1 car/1", [None, None, None]),
        ("bullet_train/1 test_tube/1 car/1", [None, None, None]),
        ("test/1 cover", [None, None]),
        ("seg_train/seg_train/sea/1 seg_test/seg_test/sea/1 seg_pred/seg_pred/1", [TRAIN, TEST, None]),
        ("val_large/1 test_large/1 data_large/1", [None, None, None]),
        ("trainval/cat/1 test/cat/1", [TRAIN, TEST]),
        ("jar/train/good/1 jar/test/bad/1 jar/masks/1 pen/train/good/1", [TRAIN, TEST, None, TRAIN]),
        ("images/train/1 images/val/1 masks/train/1 masks/val/1", [TRAIN, VAL, TRAIN, VAL]),
        ("cat/train/1 dog/1", [None, None]),
        ("cat/train/1 cat/test/1 dog/1", [None, None, None]),
        ("1 2", [None, None]),
    ],
)
def test_splits(names: str, wanted: list[str | None]) -> None:
    assert splits(names) == wanted


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("cat/1 dog/deep/1 2", ["cat", "dog", None]),
        ("train/cat/1 val/cat/1 test/1", ["cat", "cat", None]),
        ("photos/cat/1 photos/dog/1", ["cat", "dog"]),
        ("photos/cat/1 photos/1", ["photos", "photos"]),
        ("photos/1 photos/2", ["photos", "photos"]),
        ("train/all/cat/1 train/all/dog/1 val/all/cat/1", ["cat", "dog", "cat"]),
        ("train/images/cat/1 train/images/dog/1 val/1", ["cat", "dog", None]),
        ("train/n01/images/1 train/n02/images/1 val/images/1", ["n01", "n02", None]),
        ("train/n01/images/1 train/n02/images/1 val/images/1 test/images/1", ["n01", "n02", None, None]),
        ("train/images/cat/1 train/images/dog/1 test/images/1", ["cat", "dog", None]),
        ("train/cat/1 train/dog/1 test/unknown/1", ["cat", "dog", None]),
        ("train/cat/1 val/cat/1", ["cat", "cat"]),
        ("jar/train/good/1 jar/test/bad/1 pen/train/good/1 pen/test/1", ["jar", "jar", "pen", "pen"]),
        ("train/cat/1 train/dog/1 val/cat/in/1 val/cat/out/1", ["cat", "dog", "cat", "cat"]),
        ("train/1 car/1", ["train", "car"]),
        ("train/cat/1 train/dog/1 train/Unlabeled/1 test/cat/1", ["cat", "dog", None, "cat"]),
    ],
)
def test_classes(names: str, wanted: list[str | None]) -> None:
    assert classes(names) == wanted


IMG2DATASET = "00000/000000000.jpg 00000/000000001.jpg 00001/000010000.jpg"


@pytest.mark.parametrize(
    ("names", "shards"),
    [
        (IMG2DATASET, True),
        ("00000/000000007.jpg", True),
        (IMG2DATASET + " 00001/cover.jpg", True),
        ("00000/00000.png 00000/00999.png 01000/01000.png 69000/69999.png", True),
        ("00000/img00000000.png 00000/img00000999.png 00001/img00001000.png", True),
        ("00000/img1.png 00001/img1.png 00001/img2.png", False),
        ("train/00000/000000000.jpg val/00001/000010000.jpg", True),
        ("00000/00000_00000.png 00000/00001_00000.png 00042/00000_00001.png", False),
        ("00001/00001.png 00001/00002.png 00002/00001.png 00002/00002.png", False),
        ("00001/000001.png 00001/000002.png 00001/000003.png 00002/000004.png 00002/000005.png", False),
        ("0/00000.png 1/00001.png 9/00002.png", False),
        ("001/0010.png 002/0020.png", False),
        ("n000001/0001_01.jpg n000002/0001_01.jpg", False),
    ],
)
def test_shards_of_downloaders_are_no_classes(names: str, shards: bool) -> None:
    listed = names.split()
    assert (not layout(listed).classes) == shards
    assert any("shards" in remark for remark in layout(listed).remarks) == shards
    assert layout(listed, "folder").classes


def test_a_split_without_labels_takes_none_from_the_others(tmp_path: Path) -> None:
    pictures(tmp_path, "train/cat/0.png", "train/dog/1.png", "test/2.png", "test/3.png")
    train, test = (open_source(str(tmp_path), Reading(split=name)) for name in ("train", "test"))
    assert labels(train) == {"train/cat/0.png": "cat", "train/dog/1.png": "dog"}
    assert train.told.remarks == ()
    assert labels(test) == {"test/2.png": None, "test/3.png": None}
    assert train.classes == test.classes == ["cat", "dog"]
    assert test.told.remarks == ("2 of 2 images have no label",)
    assert open_source(str(tmp_path)).told.remarks == ("2 of 4 images have no label",)
    without = open_source(str(tmp_path), Reading(labels=False))
    assert (without.classes, without.told.lines(), without.label(0)) == ([], [], None)


def test_folders_of_numbers_are_those_numbers(tmp_path: Path) -> None:
    pictures(tmp_path, *[f"train/{i}/a.png" for i in (0, 2, 10, 11)], "val/10/a.png", "val/b.png")
    source = open_source(str(tmp_path), Reading(split="val"))
    assert [source.label(i) for i in range(2)] == [10, None]
    assert source.classes == [str(i) for i in range(12)]
    assert "0 to 11" in source.told.remarks[0]


def test_what_lies_outside_of_splits_is_counted(tmp_path: Path) -> None:
    pictures(tmp_path, "train/a.png", "val/a.png", "extra/b.png", "c.png", "notes.pdf")
    source = open_source(str(tmp_path))
    assert list(labels(source)) == ["train/a.png", "val/a.png"]
    assert source.told.lines() == ["3 files were left out: 2 outside of the splits, 1 .pdf"]
    with pytest.raises(VqcliError) as caught:
        open_source(str(tmp_path), Reading(split="test"))
    assert caught.value.hint == "it has: train, validation"


def test_keys_stay_when_folders_are_added(tmp_path: Path) -> None:
    before = set(labels(open_source(str(pictures(tmp_path, "cat/a.png", "b.png")))))
    for more in ("train/c.png", "cat/deep/d.png", "00000/000000000.jpg"):
        assert before < set(labels(open_source(str(pictures(tmp_path, more)))))


def test_an_empty_folder_tells_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(VqcliError) as caught:
        open_source(str(pictures(tmp_path, "a.mp4", "b.mp4", ".c.png", "LICENSE")))
    assert caught.value.reason == "input-empty"
    assert "4 files were left out: 2 .mp4, 1 hidden, 1 no ending; known:" in caught.value.hint


def test_shards_beside_pictures_and_tables_beside_shards(tmp_path: Path) -> None:
    pictures(tmp_path, "a.jpg", "b.png", "c_stats.json")
    make_tar(tmp_path / "c.tar")
    make_parquet(tmp_path / "c.parquet")
    source = open_source(str(tmp_path))
    assert len(source) == 6
    assert "c.parquet is not read" in source.told.remarks[0]
    assert "pictures beside them are not" in source.told.remarks[1]
    assert source.told.left_out == {".jpg": 1, ".png": 1, ".json": 1, ".parquet": 1}
    for path in (tmp_path / "a.jpg", tmp_path / "b.png"):
        path.unlink()
    source = open_source(str(tmp_path / "*"))
    assert (len(source), source.told.left_out) == (6, {".json": 1, ".parquet": 1})


def test_shards_in_split_folders(tmp_path: Path) -> None:
    for name in ("train", "Val"):
        (tmp_path / "top" / name).mkdir(parents=True)
        make_tar(tmp_path / "top" / name / "0.tar", 4 if name == "train" else 2)
    for text in (tmp_path, tmp_path / "top" / "*" / "*.tar"):
        source = open_source(str(text), Reading(split="validation"))
        assert (len(source), source.splits) == (2, ("train", "validation"))
    assert open_source(str(tmp_path / "top" / "Val" / "*.tar")).splits == ()
    (tmp_path / "top" / "train" / "0.tar").rename(tmp_path / "cifar-train-0.tar")
    (tmp_path / "top" / "Val" / "0.tar").rename(tmp_path / "cifar-DEV-0.tar")
    assert len(open_source(str(tmp_path), Reading(split="valid"))) == 2


def test_a_packed_copy_beside_its_folder_is_not_read(tmp_path: Path) -> None:
    pictures(tmp_path, "photos/cat/0.png", "00000/000000000.jpg")
    make_tar(tmp_path / "photos.tar")
    make_parquet(tmp_path / "00000.parquet")
    make_parquet(tmp_path / "metadata.parquet")
    source = open_source(str(tmp_path))
    assert labels(source) == {"00000/000000000.jpg": None, "photos/cat/0.png": "photos"}
    assert source.told.left_out == {".parquet": 2, ".tar": 1}
    assert "00000.parquet and 2 more are" in " ".join(source.told.remarks)


def test_a_shard_without_a_split_beside_train_and_test(tmp_path: Path) -> None:
    for name in ("train-0", "test-0", "extra-0"):
        make_tar(tmp_path / f"{name}.tar")
    source = open_source(str(tmp_path))
    assert (source.splits, len({source.key(i).split("/")[0] for i in range(len(source))})) == (
        ("train", "test"),
        3,
    )
    assert "extra-0.tar: of no split, read only where none is asked for" in source.told.remarks
    train = open_source(str(tmp_path), Reading(split="train"))
    assert {train.key(i).split("/")[0] for i in range(len(train))} == {"train-0"}


def test_versions_and_subsets_beside_each_other_are_told(tmp_path: Path) -> None:
    for folder in ("blobs", "plain/train", "plain/test"):
        (tmp_path / folder).mkdir(parents=True)
    make_parquet(tmp_path / "blobs" / "a1")
    for version in ("0a1b", "2c3d"):
        data = tmp_path / "snapshots" / version / "data"
        data.mkdir(parents=True)
        (data / "train-00000-of-00001.parquet").symlink_to("../../../blobs/a1")
    source = open_source(str(tmp_path))
    both = "shards lie in 2 folders (snapshots/0a1b/data, snapshots/2c3d/data): all are read"
    assert both in source.told.remarks
    one = open_source(str(tmp_path / "snapshots" / "0a1b"))
    assert (2 * len(one), one.splits) == (len(source), ("train",))
    assert not any("shards lie" in remark for remark in one.told.remarks)
    make_parquet(tmp_path / "plain" / "train" / "0000.parquet")
    make_parquet(tmp_path / "plain" / "test" / "0000.parquet", start=10)
    assert open_source(str(tmp_path / "plain")).told.remarks == ()
