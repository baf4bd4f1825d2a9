"""Parquet files as people write them: columns, labels, keys, rows without pictures, large row groups."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.test_samples import labelled
from tests.data.test_sources import NAMES, make_parquet, png
from vqcli.data.images import groups
from vqcli.data.images.open import open_source
from vqcli.data.images.parquet import ParquetSource
from vqcli.errors import BadImage, VqcliError
from vqcli.types import Reading

PICTURES = [png(i) for i in range(4)]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(path: Path, columns: dict[str, Any], **options: Any) -> str:
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


def read(path: str, **how: Any) -> ParquetSource:
    source = open_source(path, Reading(**how))
    assert isinstance(source, ParquetSource)
    return source


def reds(source: ParquetSource) -> list[Any]:
    return [source[i].image.getpixel((0, 0))[0] for i in range(len(source))]  # type: ignore[index]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(PICTURES, pa.binary()),
        pa.array(PICTURES, pa.large_binary()),
        pa.array(PICTURES, pa.binary_view()),
        pa.array(PICTURES, pa.binary()).dictionary_encode(),
        pa.array([{"bytes": data, "path": None} for data in PICTURES], STRUCT),
        pa.array([{"bytes": data} for data in PICTURES], pa.struct([("bytes", pa.large_binary())])),
    ],
    ids=lambda column: str(column.type)[:20],
)
@pytest.mark.parametrize("name", ["image", "jpg", "PNG", "anything"])
def test_columns_of_pictures(name: str, column: pa.Array, tmp_path: Path) -> None:
    source = read(table(tmp_path / "a.parquet", {"text": list("abcd"), name: column}, row_group_size=3))
    assert reds(source) == [0, 1, 2, 3]
    assert labelled(source) == dict.fromkeys([f"a/0000000{i}" for i in range(4)])
    assert source.told.lines() == []


def test_one_of_several_columns(tmp_path: Path) -> None:
    inside = pa.array([{"right": {"bytes": data, "path": "r"}} for data in PICTURES[::-1]])
    path = table(tmp_path / "a.parquet", {"mask": PICTURES, "image": PICTURES, "pair": inside})
    source = read(path)
    assert source.told.lines() == [
        "pictures are those of column image (not mask); --image-column chooses another"
    ]
    for column in ("pair.right", "pair.right.bytes"):
        assert reds(read(path, image_column=column)) == [3, 2, 1, 0]
    with pytest.raises(VqcliError, match="has no column masks") as caught:
        read(path, image_column="masks")
    assert caught.value.hint == "did you mean 'mask'?"
    table(tmp_path / "b.parquet", {"left": PICTURES, "right": PICTURES})
    with pytest.raises(VqcliError, match="several columns that may hold pictures: left, right") as caught:
        read(str(tmp_path / "b.parquet"))
    assert caught.value.hint == "choose: --image-column left"


@pytest.mark.parametrize(
    ("column", "told", "hint"),
    [
        (["https://x/a.jpg"], "column image holds addresses, not pictures", "img2dataset"),
        (["iVBORw0K" * 40], "column image holds pictures as base64 text", "b64decode"),
        (["a dog"], "column image holds text \\('a dog'\\), no names of image files", "PNG"),
        ([[png(1), png(2)]], "several pictures a row", "a row of each"),
        ([[{"bytes": png(1), "path": "x"}]], "several pictures a row", "a row of each"),
        ([[[[1, 2, 3]]]], "raw pixels", "numpy.savez"),
        ([7], "column image holds int64", "PNG"),
    ],
)
def test_what_is_no_picture_is_told(column: list[Any], told: str, hint: str, tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", {"image": column})
    for how in ({}, {"image_column": "image"}):
        with pytest.raises(VqcliError, match=told) as caught:
            read(path, **how)
        assert caught.value.reason == "format"
        assert hint in caught.value.hint
    with pytest.raises(VqcliError, match="holds no images, but text"):
        read(table(tmp_path / "b.parquet", {"text": ["a"]}))
    with pytest.raises(VqcliError, match="column url holds addresses"):
        read(table(tmp_path / "b.parquet", {"url": ["http://x/a.jpg"], "text": ["a"]}))


@pytest.mark.parametrize(
    ("column", "labels", "classes"),
    [
        (["dog", "cat", None, ""], [1, 0, None, None], ["cat", "dog"]),
        ([b"dog", b"cat", None, b"-1"], [1, 0, None, None], ["cat", "dog"]),
        (pa.array(["dog", "cat", "dog", "cat"]).dictionary_encode(), [1, 0, 1, 0], ["cat", "dog"]),
        (pa.array(["b", "a", None, "a"], pa.large_string()), [1, 0, None, 0], ["a", "b"]),
        ([2, None, -1, 0], [2, None, None, 0], []),
        ([2.0, float("nan"), None, 0.0], [2, None, None, 0], []),
        ([True, False, None, True], [1, 0, None, 1], []),
        (pa.array([1, 2, 3, 4], pa.uint8()), [1, 2, 3, 4], []),
        (pa.nulls(4), [None] * 4, []),
    ],
    ids=str,
)
def test_labels(column: Any, labels: list[int | None], classes: list[str], tmp_path: Path) -> None:
    for name in ("label", "Label", "class"):
        source = read(table(tmp_path / "a.parquet", {"image": PICTURES, name: column}))
        assert ([source.label(i) for i in range(4)], source.classes) == (labels, classes)


def test_label_columns(tmp_path: Path) -> None:
    columns = {
        "image": PICTURES,
        "labels": [[1], [2], [3], [4]],
        "fine_label": [4, 3, 2, 1],
        "coarse_label": [1, 1, 1, 1],
        "meta": [{"breed": name} for name in "dcba"],
    }
    path = table(tmp_path / "a.parquet", columns)
    source = read(path)
    assert source.label(0) == 4
    assert source.told.lines() == [
        "labels are those of column fine_label (not coarse_label); --label-column chooses another"
    ]
    assert read(path, label_column="coarse_label").label(0) == 1
    named = read(path, label_column="meta.breed")
    assert (named.label(0), named.classes) == (3, ["a", "b", "c", "d"])
    with pytest.raises(VqcliError, match=r"column labels holds list<.*>, no label") as caught:
        read(path, label_column="labels")
    assert caught.value.reason == "labels"
    lists = read(table(tmp_path / "b.parquet", {name: columns[name] for name in ("image", "labels")}))
    assert lists.label(0) is None
    assert "column labels holds list" in lists.told.lines()[0]


def test_folders_of_paths_are_labels_where_that_is_asked(tmp_path: Path) -> None:
    rows = [{"bytes": data, "path": f"train/{'ab'[i % 2]}/{i}.png"} for i, data in enumerate(PICTURES)]
    path = table(tmp_path / "a.parquet", {"image": pa.array(rows, STRUCT)})
    assert "--label-column folder takes the 2 folders" in read(path).told.lines()[0]
    source = read(path, label_column="folder")
    assert (labelled(source)["a/train/b/1.png"], source.classes) == (1, ["a", "b"])


def shard(path: Path, labels: Sequence[Any], names: Sequence[str] = ()) -> None:
    told = json.dumps({"info": {"features": {"label": {"names": names}}}})
    made = pa.table({"image": PICTURES[: len(labels)], "label": labels})
    pq.write_table(made.replace_schema_metadata({"huggingface": told} if names else None), path)


def test_shards_that_name_their_classes_differently(tmp_path: Path) -> None:
    shard(tmp_path / "a.parquet", [0, 1, -1], NAMES)
    shard(tmp_path / "b.parquet", [0, 1, 7], ["bird", "cat"])
    shard(tmp_path / "c.parquet", ["dog", "eel", None])
    source = read(str(tmp_path))
    assert source.classes == ["cat", "dog", "bird", "eel"]
    assert [source.label(i) for i in range(9)] == [0, 1, None, 2, 0, None, 1, 3, None]
    line = source.told.lines()[0]
    assert "shards list different classes: taken together by name, 4 classes" in line
    assert "labels beyond the list of classes are taken as none (1)" in line
    shard(tmp_path / "d.parquet", [1])
    with pytest.raises(VqcliError, match="the names differ") as caught:
        read(str(tmp_path))
    assert caught.value.reason == "labels"
    (tmp_path / "b.parquet").unlink()
    assert read(str(tmp_path)).label(6) == 1  # one list alone is that of all numbers


def test_classes_of_one_name_stay_apart(tmp_path: Path) -> None:
    shard(tmp_path / "a.parquet", [0, 1, 2], ["crane", "dog", "crane"])
    source = read(str(tmp_path))
    assert ([source.label(i) for i in range(3)], source.classes) == ([0, 1, 2], ["crane", "dog", "crane"])


def test_what_img2dataset_writes(tmp_path: Path) -> None:
    """Downloads that failed are rows without a picture."""
    columns = {
        "key": [f"{i:09d}" for i in range(4)],
        "jpg": [PICTURES[0], None, PICTURES[2], None],
        "caption": ["a", "b", None, "d"],
        "url": ["http://x"] * 4,
        "status": ["success", "failed_to_download", "success", "failed_to_resize"],
    }
    path = table(tmp_path / "00000.parquet", columns, row_group_size=3)
    source = read(path, keep=("caption", "url"))
    assert labelled(source) == dict.fromkeys(["00000/000000000", "00000/000000002"])
    assert reds(source) == [0, 2]
    assert [source[i].extras for i in range(2)] == [{"caption": "a", "url": "http://x"}, {"url": "http://x"}]
    assert source.told.left_out == {"rows without a picture": 2}
    with pytest.raises(VqcliError, match="has no column captions"):
        read(path, keep=("captions",))


def test_rows_that_turn_out_to_be_empty_are_rejected(tmp_path: Path) -> None:
    columns = {"image": [PICTURES[0], None, b""], "status": ["new", "old", "new"]}
    source = read(table(tmp_path / "a.parquet", columns))
    assert (len(source), source.told.left_out) == (3, {})
    for i in (1, 2):
        with pytest.raises(BadImage, match="empty-file"):
            source[i]


def test_extras_are_json_values(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 5, 17, 1, 2, 3)
    columns = {"image": PICTURES[:1], "when": [day], "box": [{"x": [1, 2]}], "raw": [b"x"]}
    source = read(table(tmp_path / "a.parquet", columns), keep=("when", "box", "box.x", "raw"))
    assert source.extras(0) == {"when": "2024-05-17T01:02:03", "box": {"x": [1, 2]}, "box.x": [1, 2]}


def test_files_beside(tmp_path: Path) -> None:
    """By a column of names, as ImageFolder's metadata.parquet has, and by {bytes: null, path}."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.png").write_bytes(png(7))
    names = ["d/x.png", "d/gone.png", str(tmp_path / "d" / "x.png"), "d/../../x.png", None]
    rows = [{"bytes": None, "path": name} for name in names]
    for columns, first in (
        ({"file_name": names}, "a/d/x.png"),
        ({"image": pa.array(rows, STRUCT)}, "a/00000000"),
    ):
        source = read(table(tmp_path / "a.parquet", columns))
        assert source.key(0) == first
        by_name = "file_name" in columns
        assert (len(source), source.told.left_out) == (
            (4, {"rows without a picture": 1}) if by_name else (5, {})
        )
        assert source[0].image.getpixel((0, 0)) == (7, 0, 0)
        for i, told in ((1, "missing"), (2, "not below the folder"), (3, "not below the folder")):
            with pytest.raises(BadImage, match=told) as caught:
                source[i]
            assert caught.value.reason == "missing"


def test_text_that_is_called_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("image,label\na.png,3\n")
    with pytest.raises(VqcliError, match=r"a\.parquet is no Parquet file") as caught:
        read(str(tmp_path / "a.parquet"))
    assert caught.value.reason == "format"


def test_a_file_without_rows(tmp_path: Path) -> None:
    for columns in ({}, {"status": ["failed_to_download"]}):
        path = table(
            tmp_path / "a.parquet", {"image": pa.array([None] * len(columns), pa.binary()), **columns}
        )
        with pytest.raises(VqcliError, match=r"a\.parquet holds no images") as caught:
            read(path)
        assert caught.value.reason == "input-empty"


def test_row_groups_are_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = read(str(make_parquet(tmp_path / "a.parquet", 40)))
    monkeypatch.setattr(groups, "CACHE_BYTES", 1000)
    assert reds(source) == list(range(40))
    assert source._groups.held < 1000


def test_large_row_groups_are_read_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in any order, and in a process that was forked in between: the same pictures."""
    rows = [{"bytes": png(i), "path": f"{i}.png"} for i in range(50)]
    path = table(tmp_path / "a.parquet", {"image": pa.array(rows, STRUCT)}, row_group_size=25)
    monkeypatch.setattr(groups, "WHOLE_BYTES", 100)
    monkeypatch.setattr(groups, "WINDOW_BYTES", 4 * len(png(1)))
    source = read(path)
    assert "are quick to read in order, slow in any other" in source.told.lines()[0]
    assert reds(source) == list(range(50))
    assert source._groups.held < 12 * len(png(1))
    order = np.random.default_rng(0).permutation(50).tolist()
    assert [source[i].image.getpixel((0, 0)) for i in order] == [(i, 0, 0) for i in order]
    source = read(path)
    assert [source.read(i) for i in (2, 7)] == [png(2), png(7)]
    child = os.fork()
    if not child:
        os._exit(0 if all(source.read(i) == png(i) for i in (24, 9, 12)) else 1)
    assert all(source.read(i) == png(i) for i in range(8, 50))
    assert os.waitpid(child, 0)[1] == 0


def test_a_large_row_group_does_not_fill_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = pa.array([rng.bytes(1 << 20) for _ in range(200)], pa.binary())
    plain = {"use_dictionary": False, "compression": "none", "write_statistics": False}
    table(tmp_path / "a.parquet", {"image": pictures}, write_batch_size=8, **plain)
    code = (
        "import resource\n"
        "from vqcli.data.images.open import open_source\n"
        f"source = open_source({str(tmp_path / 'a.parquet')!r}); source.read(0)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert sum(len(source.read(i)) for i in range(200)) == 200 << 20\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150 << 10  # two windows, and Arrow's own


def test_damaged_parquet(tmp_path: Path) -> None:
    path = make_parquet(tmp_path / "a.parquet")
    whole = path.read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(VqcliError, match=r"a\.parquet is damaged"):
            open_source(str(path))


def test_parquet_without_pyarrow(tmp_path: Path) -> None:
    path = make_parquet(tmp_path / "a.parquet")
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from vqcli.data.images.open import open_source\n"
        f"try: open_source({str(path)!r})\n"
        "except Exception as e: print(e.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pip install 'vqcli[parquet]'"
