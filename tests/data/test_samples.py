"""WebDataset's samples: pictures, labels and captions that belong together."""

import json
from pathlib import Path

import pytest

from tests.data.test_sources import png
from tests.data.test_tar import write
from vqcli.data.images.base import Source
from vqcli.data.images.open import open_source
from vqcli.errors import VqcliError
from vqcli.types import Reading


def labelled(source: Source) -> dict[str, int | None]:
    return {source.key(i): source.label(i) for i in range(len(source))}


def stereo(path: Path, **more: bytes) -> Path:
    files = {}
    for i in range(2):
        files |= {f"d/{i}.left.png": png(i), f"d/{i}.right.png": png(10 + i), f"d/{i}.cls": b"%d" % (i + 5)}
    return write(path, files | more)


def test_several_pictures_share_the_label_of_their_sample(tmp_path: Path) -> None:
    path = str(stereo(tmp_path / "a.tar"))
    source = open_source(path)
    assert labelled(source) == {
        "a/d/0.left.png": 5,
        "a/d/0.right.png": 5,
        "a/d/1.left.png": 6,
        "a/d/1.right.png": 6,
    }
    (line,) = source.told.lines()
    assert line.startswith("samples hold several pictures (left.png, right.png): all of them are read")
    for wanted in ("left.png", "left", ".LEFT.png"):
        source = open_source(path, Reading(image_column=wanted))
        assert labelled(source) == {"a/d/0.left.png": 5, "a/d/1.left.png": 6}
        assert source.told.lines() == ["2 files were left out: 2 .right.png"]
    with pytest.raises(VqcliError, match=r"no picture is called up\.png, but left\.png, right\.png"):
        open_source(path, Reading(image_column="up.png"))


def test_a_picture_of_its_own_goes_before_those_beside_it(tmp_path: Path) -> None:
    """Masks stay out, also of a sample whose picture is missing; other dots in names are no matter."""
    files = {"0.cls": b"1", "0.seg.png": png(9), "1.seg.png": png(9), "2.edit.png": png(2), "3.PNG": png(3)}
    source = open_source(str(write(tmp_path / "a.tar", files | {"0.png": png(0)})))
    assert labelled(source) == {"a/2.edit.png": None, "a/3.PNG": None, "a/0.png": 1}
    assert source.told.left_out == {".seg.png": 2}
    assert "(seg.png, png, edit.png), read: png, edit.png; --image-column seg.png" in source.told.lines()[0]
    chosen = open_source(str(tmp_path / "a.tar"), Reading(image_column="seg.png"))
    assert labelled(chosen) == {"a/0.seg.png": 1, "a/1.seg.png": None}


def test_one_picture_under_a_longer_ending(tmp_path: Path) -> None:
    source = open_source(str(write(tmp_path / "a.tar", {"0.cls": b"4", "x.txt": b"", "0.input.png": png(1)})))
    assert labelled(source) == {"a/0.input.png": 4}
    assert source.told.lines() == ["1 file was left out: 1 .txt"]


def test_a_label_beside_a_picture_with_dots_is_its_own(tmp_path: Path) -> None:
    files = {"v1.5.png": png(0), "v1.7.png": png(1), "v1.5.cls": b"3", "v1.7.cls": b"4"}
    assert labelled(open_source(str(write(tmp_path / "a.tar", files)))) == {"a/v1.5.png": 3, "a/v1.7.png": 4}


@pytest.mark.parametrize(
    ("texts", "labels", "classes"),
    [
        ([b"2\n", b"-1", b"", b" 0 "], [2, None, None, 0], []),
        ([b"dog", "\N{BOM}cat".encode(), b"dog\r\n", b"-1"], [1, 0, 1, None], ["cat", "dog"]),
        ([b"1.0", b"3.00", b"-1.0", b"0"], [1, 3, None, 0], []),
        ([b"1.5", b"2", b"1.5", b"-1"], [0, 1, 0, None], ["1.5", "2"]),
        ([b"5000000000", b"7", b"7", b"-1"], [1, 0, 0, None], ["7", "5000000000"]),
    ],
)
def test_labels_as_people_write_them(
    texts: list[bytes], labels: list[int | None], classes: list[str], tmp_path: Path
) -> None:
    files = {f"{i}.png": png(i) for i in range(4)} | {f"{i}.cls": text for i, text in enumerate(texts)}
    source = open_source(str(write(tmp_path / "a.tar", files)))
    assert ([source.label(i) for i in range(4)], source.classes) == (labels, classes)


def test_words_are_numbered_over_all_shards(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", {"0.png": png(0), "0.cls": b"dog"})
    write(tmp_path / "b.tar", {"0.png": png(1), "0.cls": b"cat", "1.png": png(2)})
    source = open_source(str(tmp_path))
    assert labelled(source) == {"a/0.png": 1, "b/0.png": 0, "b/1.png": None}
    assert source.classes == ["cat", "dog"]


@pytest.mark.parametrize("data", [b"\x80\x04K\x01.", b"two\nlines", b"9" * (2 << 20), b"-7"])
def test_what_is_no_label_is_told(data: bytes, tmp_path: Path) -> None:
    files = {"0.png": png(0), "0.cls": data, "1.png": png(1), "1.cls": b"3"}
    source = open_source(str(write(tmp_path / "a.tar", files)))
    assert [source.label(i) for i in range(2)] == [None, 3]
    assert "an image has something else than a number or a word as label" in source.told.lines()[0]


def test_labels_in_json(tmp_path: Path) -> None:
    values = [
        b'{"label": "dog"}',
        b'{"class": "cat"}',
        b'{"cls": 1.5, "x": 1}',
        b'{"caption": "label"}',
        b"{",
    ]
    values += [
        b'{"label": null, "category": "cat"}',
        b'{"label": [1, 2]}',
        '{"label": "dog"}'.encode("utf-16"),
    ]
    files = {f"{i}.png": png(i) for i in range(8)} | {f"{i}.json": value for i, value in enumerate(values)}
    source = open_source(str(write(tmp_path / "a.tar", files)))
    assert [source.label(i) for i in range(8)] == [1, 0, None, None, None, 0, None, 1]
    assert "2 images have something else" in source.told.lines()[0]
    source = open_source(str(write(tmp_path / "a.tar", {**files, "0.cls": b"ant"})))
    assert source.classes == ["ant", "cat", "dog"]  # a member of its own goes before a field


def test_a_label_column(tmp_path: Path) -> None:
    fields = {"meta": {"breed": "husky"}, "label": 9}
    files = {"0.png": png(0), "0.json": json.dumps(fields).encode(), "0.txt": b"a dog", "0.cls": b"7"}
    path = str(write(tmp_path / "a.tar", files))

    def read(column: str | None, labels: bool = True) -> tuple[int | None, list[str]]:
        source = open_source(path, Reading(label_column=column, labels=labels))
        return source.label(0), source.classes

    assert (read(None), read("label"), read("cls")) == ((7, []), (9, []), (7, []))
    assert (read("meta.breed"), read("txt"), read(".txt")) == ((0, ["husky"]), (0, ["a dog"]), (0, ["a dog"]))
    assert read(None, labels=False) == (None, [])
    with pytest.raises(VqcliError, match="no picture has a member or a JSON field breed") as caught:
        read("breed")
    assert "meta" in caught.value.hint
    assert caught.value.reason == "input-missing"


def test_folders_in_a_shard_are_offered_as_classes(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.tar", {"train/cat/0.png": png(0), "train/dog/0.png": png(1)}))
    assert "--label-column folder takes the 2 folders" in open_source(path).told.lines()[0]
    source = open_source(path, Reading(label_column="folder"))
    assert (labelled(source), source.classes) == (
        {"a/train/cat/0.png": 0, "a/train/dog/0.png": 1},
        ["cat", "dog"],
    )


def test_captions_and_fields_are_kept(tmp_path: Path) -> None:
    """img2dataset's shards: KEY.jpg, KEY.txt, KEY.json."""
    fields = {"caption": "from json", "url": "http://x", "size": {"w": 3}, "key": "0"}
    files = {"0.png": png(0), "0.txt": "a caf\u00e9\n".encode(), "0.json": json.dumps(fields).encode()}
    files |= {"1.png": png(1), "1.json": json.dumps(fields).encode(), "2.png": png(2)}
    path = str(write(tmp_path / "00000.tar", files))
    source = open_source(path, Reading(keep=("caption", "url", "size.w", "gone")))
    assert source[0].extras == {"caption": "a caf\u00e9", "url": "http://x", "size.w": 3}
    assert source.extras(1)["caption"] == "from json"
    assert source.extras(2) == {}
    assert source.told.left_out == {}
    plain = open_source(path)
    assert (plain.key(0), plain[0].extras, plain.told.left_out) == ("00000/0.png", {}, {".txt": 1})
