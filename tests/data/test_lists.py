"""Lists as other tools write them."""

import codecs
from pathlib import Path

import pytest

from tests.data.test_layout import labels, pictures
from tests.streams import piped
from vqcli.data.images.open import open_source
from vqcli.errors import VqcliError
from vqcli.types import Reading


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pictures(
        tmp_path, "cat/0.png", "cat/1.png", "dog/2.png", "#1 final.png", "my cat.png", "a.png 7", "é.png"
    )


def read(folder: Path, text: str | bytes, **reading: object) -> dict[str, str | int | None]:
    """Class of every key of a list with this text."""
    (folder / "list.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return labels(open_source(str(folder / "list.txt"), Reading(**reading)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + "cat/0.png\r\né.png\r\n".encode(),
        codecs.BOM_UTF16_LE + "cat/0.png\r\né.png\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "cat/0.png\né.png".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "cat/0.png\né.png".encode("utf-32-le"),
        codecs.BOM_UTF32_BE + "cat/0.png\né.png".encode("utf-32-be"),
        "cat/0.png\r\né.png\r\n".encode("utf-16-le"),
        "cat/0.png\r\né.png\r\n".encode("utf-16-be"),
        "cat/0.png\ré.png\r".encode(),
        "\n  cat/0.png \n\n\té.png\n \n".encode(),
        '"cat/0.png"\n"é.png"\n'.encode(),
        "cat\\0.png\né.png\n".encode(),
    ],
)
def test_encodings_and_line_ends(data: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(read(folder, data)) == ["cat/0.png", "é.png"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", piped(data))
    assert list(labels(open_source("-"))) == ["cat/0.png", "é.png"]


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\0\0\0\rIHDR", codecs.BOM_UTF16_LE + b"\x00\xd8a", b"a\0b\0\0\0"]
)
def test_what_is_no_text_is_refused(data: bytes, folder: Path) -> None:
    with pytest.raises(VqcliError, match=r"list\.txt is no list") as caught:
        read(folder, data)
    assert caught.value.hint


def test_closed_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(VqcliError, match="closed"):
        open_source("-")


def test_a_line_that_begins_so_is_a_comment_unless_a_file_has_its_name(folder: Path) -> None:
    assert list(read(folder, "# pictures\n#1 final.png\n#dog/2.png\ncat/0.png\n")) == [
        "#1 final.png",
        "cat/0.png",
    ]
    told = open_source(str(folder / "list.txt")).told.remarks
    assert told == ("1 line that begins with # is taken as comment, no picture of that name is there",)
    assert read(folder, "#1 final.png 3\n") == {"#1 final.png": "3"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cat/0.png 0\ndog/2.png 1\n", ["0", "1"]),
        ("cat/0.png\t0\ndog/2.png\t1\n", ["0", "1"]),
        ("cat/0.png,0\ndog/2.png, 1\n", ["0", "1"]),
        ("cat/0.png cat\ndog/2.png big dog\n", ["cat", "big dog"]),
        ('"cat/0.png","big cat"\n"dog/2.png","dog"\n', ["big cat", "dog"]),
        ("cat/0.png 5\ndog/2.png\n", ["5", None]),
        ("cat/0.png 5\ndog/2.png -1\n", ["5", None]),
        ("my cat.png 5\ndog/2.png 1\n", ["5", "1"]),
        ("cat/0.png -1 1 1\ndog/2.png 1 -1 1\n", [None, None]),
        ("cat/0.png 10,20,30\ndog/2.png 1,2,3\n", [None, None]),
        ("cat/0.png 1.000\ndog/2.png 0.0\n", ["1", "0"]),
        ("path,label\ncat/0.png,cat\ndog/2.png,dog\n", ["cat", "dog"]),
        (",path,label\n0,cat/0.png,cat\n1,dog/2.png,dog\n", ["cat", "dog"]),
        ('"filename","label"\n"cat/0.png","big, fat"\n"dog/2.png","dog"\n', ["big, fat", "dog"]),
        ('"cat/0.png","big, fat"\n"dog/2.png","dog"\n', ["big, fat", "dog"]),
        ("id\tbreed\tfile\tclass\n7\tpug\tcat/0.png\t4\n8\tlab\tdog/2.png\t2\n", ["4", "2"]),
        ("path,height,width\ncat/0.png,3,4\ndog/2.png,3,4\n", [None, None]),
        ("0\t4.000000\tcat/0.png\n1\t7.000000\tdog/2.png\n", ["4", "7"]),
    ],
)
def test_labels_after_names(text: str, wanted: list[str | None], folder: Path) -> None:
    found = read(folder, text)
    assert list(found.values()) == wanted
    assert all((folder / name).is_file() for name in found)
    told = open_source(str(folder / "list.txt")).told.remarks
    assert "label" in " ".join(told)
    assert set(read(folder, text, labels=False).values()) == {None}


def test_names_after_keys_and_pairs(folder: Path) -> None:
    assert list(read(folder, "utt1 cat/0.png\nutt2 my cat.png\n")) == ["cat/0.png", "my cat.png"]
    assert "names stand last" in open_source(str(folder / "list.txt")).told.remarks[0]
    pair = "cat/0.png cat/1.png"
    assert list(read(folder, f"{pair}\n")) == [pair]


def test_a_quote_that_is_never_closed_ends_nothing(folder: Path) -> None:
    text = "a,b\n" + '"' + "".join(f"cat/{i}.png\n" for i in range(20_000))
    assert len(read(folder, text)) > 1


def test_blanks_in_names_are_no_labels(folder: Path) -> None:
    assert read(folder, "my cat.png\na.png 7\n") == {"my cat.png": None, "a.png 7": None}
    assert open_source(str(folder / "list.txt")).told.lines() == []


def test_names_from_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert list(read(folder, f"~/cat/0.png\nfile://{folder}/my%20cat.png\n")) == [
        f"{folder}/cat/0.png",
        f"{folder}/my cat.png",
    ]
    with pytest.raises(VqcliError, match=r"names https://e\.org/a\.png") as caught:
        read(folder, "cat/0.png\nhttps://e.org/a.png\n")
    assert "download" in caught.value.hint


def test_folders_as_labels_and_fields_beside(folder: Path) -> None:
    (folder / "dog" / "2.json").write_text('{"kind": "dog", "caption": "a dog"}')
    text = "cat/0.png\ndog/2.png\nmy cat.png\n"
    assert list(read(folder, text, label_column="folder").values()) == ["cat", "dog", None]
    assert list(read(folder, text, label_column="kind").values()) == [None, "dog", None]
    source = open_source(str(folder / "*" / "*.png"), Reading(keep=("caption",), label_column="folder"))
    assert [source.extras(i) for i in range(3)] == [{}, {}, {"caption": "a dog"}]
    assert [source.label(i) for i in range(3)] == [0, 0, 1]
    with pytest.raises(VqcliError, match=r"no image of .* has a field 'colour'") as caught:
        read(folder, text, label_column="colour")
    assert caught.value.hint == "--label-column takes: caption, folder, kind"


def test_a_glob_counts_what_it_leaves_out(folder: Path) -> None:
    pictures(folder, "notes.pdf")
    source = open_source(str(folder / "*"))
    assert source.told.left_out == {".pdf": 1, ".png 7": 1, "folder": 2}
    with pytest.raises(VqcliError, match="matches folders only") as caught:
        open_source(str(folder / "[cd]*"))
    assert "/*'" in caught.value.hint


@pytest.mark.parametrize("name", ["a.csv", "b.TSV", "c.lst", "d.list"])
def test_lists_under_other_endings(name: str, folder: Path) -> None:
    (folder / name).write_text("file_name,label\ncat/0.png,1\n")
    assert labels(open_source(str(folder / name))) == {"cat/0.png": "1"}
