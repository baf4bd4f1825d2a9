"""Captions and fields beside pictures."""

import json
import pickle
from pathlib import Path

import pytest

from tests.data.test_layout import labels, pictures
from vqcli.data.images.open import open_source
from vqcli.errors import VqcliError
from vqcli.types import Reading


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Pictures as img2dataset's layout "files" has them, one of them without fields, one with bad ones."""
    pictures(tmp_path, *[f"00000/00000000{i}.jpg" for i in range(4)], "00000_stats.json", "notes.txt")
    for i, label in enumerate(("dog", 7)):
        stem = tmp_path / "00000" / f"00000000{i}"
        fields = {"caption": f"from JSON {i}", "kind": label, "url": None}
        stem.with_suffix(".json").write_text(json.dumps(fields))
    (tmp_path / "00000" / "000000001.txt").write_text("from text ü\n", encoding="utf-8")
    (tmp_path / "00000" / "000000003.json").write_text("{")
    return tmp_path


def test_fields_are_labels_and_are_kept(files: Path) -> None:
    source = open_source(str(files), Reading(label_column="kind", keep=("caption", "url", "kind")))
    assert list(labels(source).values()) == ["dog", "7", None, None]
    assert source.told.left_out == {".json": 1, ".txt": 1}
    assert source.told.remarks == (
        "labels are numbers, and words such as dog: taken as names of 2 classes",
        "2 of 4 images have no label",
    )
    again = pickle.loads(pickle.dumps(source))
    assert [again.extras(i) for i in range(4)] == [
        {"caption": "from JSON 0", "kind": "dog"},
        {"caption": "from text ü", "kind": 7},
        {},
        {},
    ]
    assert again[1].extras["caption"] == "from text ü"


def test_fields_inside_of_others_and_fields_that_are_no_labels(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "a.json").write_text('{"meta": {"kind": 3.0, "tags": ["x"]}}')
    (tmp_path / "b.json").write_text('{"meta": {"kind": [1, 2]}}')
    source = open_source(str(tmp_path), Reading(label_column="meta.kind", keep=("meta.tags",)))
    assert [source.label(i) for i in range(2)] == [3, None]
    assert "an image has something else than a number or a word" in source.told.remarks[0]
    assert [source.extras(i) for i in range(2)] == [{"meta.tags": ["x"]}, {}]


def test_fields_that_nobody_asks_for_are_counted(files: Path) -> None:
    source = open_source(str(files))
    assert source.told.left_out == {".json": 4, ".txt": 2}
    assert source.classes == []
    assert open_source(str(files), Reading(label_column="folder")).label(3) == 0


def test_a_column_that_nothing_has_is_told(files: Path) -> None:
    with pytest.raises(VqcliError, match="has a field 'color'") as caught:
        open_source(str(files), Reading(label_column="color"))
    assert caught.value.hint == "--label-column takes: caption, folder, kind, url"
    with pytest.raises(VqcliError, match="has a field 'color'") as caught:
        open_source(str(pictures(files / "00000" / "plain", "a.png")), Reading(label_column="color"))
    assert caught.value.hint == "--label-column takes: folder"


@pytest.mark.parametrize("text", [".", "a.png", "*.png"])
def test_what_image_files_have_not_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures(tmp_path, "a.png", "b.png"))
    with pytest.raises(VqcliError, match="no column 'left'"):
        open_source(text, Reading(image_column="left"))
    with pytest.raises(VqcliError, match="lies in a folder"):
        open_source(text, Reading(label_column="folder"))


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_tables_of_the_hub(ending: str, tmp_path: Path) -> None:
    pictures(tmp_path, "train/a.png", "train/deep/b.png", "test/c.png")
    rows = [
        {"file_name": "a.png", "breed": "pug", "text": "one, two"},
        {"file_name": "deep/b.png", "breed": "cat", "text": "x"},
    ]
    lines = ["file_name,breed,text", 'a.png,pug,"one, two"', "deep/b.png,cat,x"]
    lines = [json.dumps(row) for row in rows] if ending == "jsonl" else lines
    (tmp_path / "train" / f"metadata.{ending}").write_text("\n".join(lines) + "\n")
    source = open_source(str(tmp_path), Reading(split="train", label_column="breed", keep=("text",)))
    assert labels(source) == {"train/a.png": "pug", "train/deep/b.png": "cat"}
    assert [source.extras(i) for i in range(2)] == [{"text": "one, two"}, {"text": "x"}]
    assert source.told.lines() == []
    plain = open_source(str(tmp_path))
    assert plain.told.left_out == {f".{ending}": 1}
    assert "--label-column" in plain.told.remarks[0]
