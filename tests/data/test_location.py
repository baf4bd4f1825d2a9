"""Places: the disk, and sources that know nothing of it."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.data.test_sources import make_folder, make_npz, make_parquet, make_tar, png
from tests.data.toys import Memory
from vqcli.data.images.base import Source
from vqcli.data.images.files import ListSource
from vqcli.data.images.folder import FolderSource
from vqcli.data.images.npz import NpzSource
from vqcli.data.images.parquet import ParquetSource
from vqcli.data.images.tar import TarSource
from vqcli.data.location import Disk, Location, NotAFile, location, suffix_of
from vqcli.errors import BadImage, VqcliError

MAKERS = {"tar": make_tar, "parquet": make_parquet, "npz": make_npz}
READERS = {"tar": TarSource, "parquet": ParquetSource, "npz": NpzSource}


def everything(source: Source) -> list[tuple[str, int | None, bytes]]:
    return [(source.key(i), source.label(i), source[i].image.tobytes()) for i in range(len(source))]


@pytest.mark.parametrize("kind", MAKERS)
def test_shards_are_read_from_any_place(kind: str, tmp_path: Path) -> None:
    path = MAKERS[kind](tmp_path / f"a.{kind}")  # type: ignore[operator]
    place: Location = Memory({"x/a." + kind: path.read_bytes()}) / "x" / f"a.{kind}"
    here, there = READERS[kind]([Disk(path)]), READERS[kind]([place])
    assert everything(here) == everything(there)
    assert len(there) == 6
    with pytest.raises(VqcliError, match="memory://gone"):
        READERS[kind]([Memory({}, "gone")])


def test_folders_and_lists_are_read_from_any_place(tmp_path: Path) -> None:
    make_folder(tmp_path)
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")]
    files = {f"top/{name}": (tmp_path / name).read_bytes() for name in names}
    files |= {"top/list.txt": b"dog/01.png\r\n# no\ncat/02.png\ncat/gone.png", "a.png": png(9)}
    top = Memory(files) / "top"
    assert everything(FolderSource(top)) == everything(FolderSource(Disk(tmp_path)))
    listed = ListSource.of_list(top / "list.txt", top)
    assert [listed[i].image.getpixel((0, 0)) for i in range(2)] == [(1, 0, 0), (2, 0, 0)]
    with pytest.raises(BadImage, match="missing"):
        listed[2]


def test_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a.PNG").write_bytes(b"0123456789")
    folder, file = location(str(tmp_path)), location(str(tmp_path)) / "a.PNG"
    assert str(file) == f"{tmp_path}/a.PNG"
    assert (file.suffix, file.size(), file.read(3, 4), file.read(8, 9)) == (".png", 10, b"3456", b"89")
    with file.open() as opened:
        assert opened.seek(0, os.SEEK_END) == 10
    assert (file.exists(), file.is_folder(), file.holds_file()) == (True, False, True)
    assert (folder.exists(), folder.is_folder(), folder.holds_file()) == (True, True, False)
    assert not (folder / ("n" * 5000)).exists()
    assert pickle.loads(pickle.dumps(file)) == file
    with pytest.raises(IsADirectoryError):
        folder.size()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotAFile):
        (folder / "pipe").size()
    with pytest.raises(OSError, match="seek"):
        (folder / "pipe").read(0, 1)  # at once, though nobody writes


def listed(folder: Path, suffixes: set[str]) -> tuple[dict[str, list[str]], dict[str, int]]:
    names, left_out = Disk(folder).listing(suffixes)
    return {suffix: list(its) for suffix, its in names.items()}, left_out


def test_a_listing(tmp_path: Path) -> None:
    for name in (
        "b/2.png",
        "b/1.PNG",
        "a/x.y/3.png",
        ".hidden/4.png",
        "b/.5.png",
        "6.txt",
        "png",
        "7.gz",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.png").symlink_to(tmp_path / "b" / "2.png")
    (tmp_path / "folder.png").mkdir()
    assert listed(tmp_path, {".png", ".mp4"}) == (
        {".png": ["a/x.y/3.png", "b/1.PNG", "b/2.png", "link.png"]},
        {"hidden": 2, ".txt": 1, ".gz": 1, "no ending": 1},
    )
    assert listed(tmp_path / "b", {".png", ".gz"}) == ({".png": ["1.PNG", "2.png"]}, {"hidden": 1})
    with pytest.raises(VqcliError, match="does not exist"):
        Disk(tmp_path / "absent").listing({".png"})


def test_a_listing_is_in_the_order_of_whole_names(tmp_path: Path) -> None:
    names = [
        "a-b/1.png",
        "a.png",
        "a/1.png",
        "a/b.png",
        "a/b/0.png",
        "a/b/c/0.PNG",
        "a/b0.png",
        "a0/1.png",
    ]
    names += ["a!.png", "é/ü.png", "z/\udcff.png", "Z.png", "a/b-/1.png", "a0.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert listed(tmp_path, {".png"}) == ({".png": sorted(names)}, {})


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "1.png").write_bytes(b"")
    (tmp_path / "top" / "cat" / "deep").mkdir(parents=True)
    links = {
        "top/one.png": "../pool/1.png",
        "top/named otherwise": "../pool/1.png",
        "top/gone.png": "../pool/2.png",
        "top/dog": "../pool",
        "top/self.png": "self.png",
        "top/cat/deep/up": "../../cat",
        "top/above": "..",
        "pool/back": "../top/dog",
    }
    for name, to in links.items():
        (tmp_path / name).symlink_to(to)
    os.mkfifo(tmp_path / "top" / "pipe.png")
    (tmp_path / "top" / "folder.png").mkdir()
    (tmp_path / "top" / "@eaDir").mkdir()
    (tmp_path / "top" / "@eaDir" / "2.png").write_bytes(b"")
    (tmp_path / "top" / "$RECYCLE.BIN").mkdir()
    (tmp_path / "top" / "$RECYCLE.BIN" / "deleted.png").write_bytes(b"")
    (tmp_path / "top" / "Thumbs.db").write_bytes(b"")
    assert listed(tmp_path / "top", {".png"}) == (
        {".png": ["dog/1.png", "one.png"]},
        {"link in a loop": 4, "link to nothing": 1, "no ending": 1, "no file": 1, "hidden": 3},
    )


def test_rows_of_a_shard_that_is_cut_are_rejected(tmp_path: Path) -> None:
    path = make_npz(tmp_path / "a.npz")
    source = NpzSource([Disk(path)])
    assert np.array(source[5].image)[0, 0, 0] == 5
    os.truncate(path, 400)
    with pytest.raises(BadImage, match="changed"):
        source[5]


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.PNG", ".png"),
        ("a.tar.gz", ".gz"),
        ("in.d/a", ""),
        ("in/.png", ""),
        ("..png", ""),
        (".a.b", ".b"),
        ("a.", "."),
    ],
)
def test_suffix_is_what_follows_the_last_dot_of_a_name(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix
