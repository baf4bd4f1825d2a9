import gzip
import io
import os
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.data.test_sources import make_tar, png
from vqcli.data.images import archive
from vqcli.data.images.open import open_source
from vqcli.errors import VqcliError


def add(
    tar: tarfile.TarFile,
    name: str,
    data: bytes = b"",
    kind: bytes = tarfile.REGTYPE,
    target: str = "../elsewhere",
) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, target
    tar.addfile(info, io.BytesIO(data))


def write(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            add(tar, name, data)
    return path


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("labels", ["cls", "json", "none"])
def test_forms_and_labels(form: int, labels: str, tmp_path: Path) -> None:
    source = open_source(str(make_tar(tmp_path / "a.tar", 5, labels=labels, form=form)))
    assert [source.label(i) for i in range(5)] == ([None] * 5 if labels == "none" else [0, 1, 0, 1, 0])
    assert [source[i].image.getpixel((0, 0)) for i in range(5)] == [(i, 0, 0) for i in range(5)]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names(form: int, tmp_path: Path) -> None:
    name = "/".join(["folder" * 4] * (8 if form == tarfile.USTAR_FORMAT else 40)) + "/é.png"
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        add(tar, name, png(5))
        add(tar, "short.png", png(6))
    source = open_source(str(tmp_path / "a.tar"))
    assert [source.key(0), source.key(1)] == [f"a/{name}", "a/short.png"]
    assert source[1].image.getpixel((0, 0)) == (6, 0, 0)


def test_only_regular_images_are_looked_at(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            add(tar, f"{ord(kind)}.png", kind=kind)
        add(tar, "000.pkl", b"cos\nsystem\n")
        add(tar, "../../evil.png", png(1))
    source = open_source(str(tmp_path / "a.tar"))
    assert [source.key(i) for i in range(len(source))] == ["a/../../evil.png"]
    assert source.told.left_out == {"link to nothing": 2, "device": 2, ".pkl": 1}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_cut_anywhere_is_an_error(form: int, tmp_path: Path) -> None:
    """At every member boundary, in every header, in every member's data, and inside the end marker."""
    whole = make_tar(tmp_path / "whole.tar", 6, form=form).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        infos = tar.getmembers()
        images_before = {info.offset: i // 2 + i % 2 for i, info in enumerate(infos)}
    last = max(info.offset_data + 512 * -(-info.size // 512) for info in infos)
    cuts = {
        info.offset + d: n for info, n in zip(infos, images_before.values()) for d in (0, 1, 257, 511, 512)
    }
    cuts |= {last: 6, last + 1: 6, last + 512: 6, last + 1000: 6}
    for at, images in cuts.items():
        (tmp_path / "cut.tar").write_bytes(whole[:at])
        with pytest.raises(VqcliError, match=rf"cut\.tar is damaged after {images} good images") as caught:
            open_source(str(tmp_path / "cut.tar"))
        assert caught.value.reason == "damaged"
    (tmp_path / "cut.tar").write_bytes(whole[: last + 1024])
    assert len(open_source(str(tmp_path / "cut.tar"))) == 6


def test_damaged_headers_are_an_error(tmp_path: Path) -> None:
    whole = make_tar(tmp_path / "whole.tar", 3).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        second = tar.getmembers()[2].offset
    for at in (0, 99, 124, 130, 148, 156, 257, 400):
        damaged = bytearray(whole)
        damaged[second + at] ^= 4
        (tmp_path / "bad.tar").write_bytes(damaged)
        with pytest.raises(VqcliError, match="after 1 good images"):
            open_source(str(tmp_path / "bad.tar"))


@pytest.mark.parametrize("top", [1, 127, 128, 255])
def test_sums_and_numbers_of_headers_are_those_of_plain_arithmetic(top: int) -> None:
    draw = random.Random(top)
    for block in (bytes([top] * 512), *(bytes(draw.choices(range(top + 1), k=512)) for _ in range(50))):
        assert archive._sum(block) == sum(block)
    for size in (0, 1, 7, 8, 0o777777, 0o77777777777):
        for form in (
            "{:011o}\0",
            "{:011o} ",
            "{:o}\0",
            "{:o} \0",
            "{:o}\0 ",
            " {:o} ",
            "{:012o}",
            "{:o}\0rest",
        ):
            assert archive._number(form.format(size).encode(), 0) == size
    for wrong in (b"8\0", b"0_7\0", b"-1\0", b"0o7\0", b"7 7\0", b"x\0"):
        with pytest.raises(archive.Damaged):
            archive._number(wrong, 0)


def test_two_members_of_one_name_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", {"a.png": png(1), "./a.png": png(2)})
    with pytest.raises(VqcliError, match=r"a\.tar has two members called a\.png") as caught:
        open_source(str(tmp_path / "a.tar"))
    assert caught.value.reason == "input-duplicate"


def test_not_a_tar(tmp_path: Path) -> None:
    for data, reason in ((b"", "damaged"), (b"\0" * 1024, "input-empty"), (b"hello" * 300, "damaged")):
        (tmp_path / "a.tar").write_bytes(data)
        with pytest.raises(VqcliError, match=r"a\.tar") as caught:
            open_source(str(tmp_path / "a.tar"))
        assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["a.tar.gz", "a.TGZ", "a.tar.zst", "a.tar.xz", "a.tar.bz2"])
def test_compressed_archives_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(VqcliError, match=r"is compressed") as caught:
        open_source(str(tmp_path / name))
    assert caught.value.reason == "format"
    assert str(tmp_path / name) in caught.value.hint


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\3\4" + b"x" * 600, "a zip file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>", "a web page"),
    ],
)
@pytest.mark.parametrize("name", ["a.tar", "a.parquet"])
def test_other_files_of_the_same_ending_are_named(data: bytes, what: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(VqcliError, match=rf"{name} is not a (tar|Parquet file), but {what}") as caught:
        open_source(str(tmp_path / name))
    assert caught.value.reason == "format"


def test_the_hint_for_a_packed_archive_works(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "it's.tar", 3)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(VqcliError, match="but compressed by gzip") as caught:
        open_source(str(path))
    subprocess.run(caught.value.hint, shell=True, check=True)
    assert len(open_source(str(path))) == 3


def test_the_hint_for_a_missing_end_marker_works(tmp_path: Path) -> None:
    """Of a writer that leaves it out, or half of it."""
    whole = make_tar(tmp_path / "whole.tar", 3).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        end = max(info.offset_data + 512 for info in tar.getmembers())
    for left in (end, end + 512):
        (tmp_path / "it's.tar").write_bytes(whole[:left])
        with pytest.raises(VqcliError, match="damaged after 3 good images: its end marker") as caught:
            open_source(str(tmp_path / "it's.tar"))
        subprocess.run(caught.value.hint.rpartition(": ")[2], shell=True, check=True)
        assert len(open_source(str(tmp_path / "it's.tar"))) == 3
    (tmp_path / "cut.tar").write_bytes(whole[: end - 512])
    with pytest.raises(VqcliError, match="cut off") as caught:
        open_source(str(tmp_path / "cut.tar"))
    assert "head" not in caught.value.hint


def test_links_stand_for_their_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "later.png", kind=tarfile.SYMTYPE, target="data/0.png")
        add(tar, "data/0.png", png(5))
        add(tar, "data/0.cls", b"3")
        add(tar, "hard.png", kind=tarfile.LNKTYPE, target="data/0.png")
        add(tar, "hard.cls", kind=tarfile.LNKTYPE, target="./data/0.cls")
        add(tar, "x/twice.png", kind=tarfile.SYMTYPE, target="../later.png")
        add(tar, "loop.png", kind=tarfile.SYMTYPE, target="loop.png")
        add(tar, "out.png", kind=tarfile.SYMTYPE, target="/etc/passwd")
    source = open_source(str(tmp_path / "a.tar"))
    found = {source.key(i): source.label(i) for i in range(len(source))}
    assert found == {"a/data/0.png": 3, "a/later.png": None, "a/hard.png": 3, "a/x/twice.png": None}
    assert all(source[i].image.getpixel((0, 0)) == (5, 0, 0) for i in range(4))
    assert source.told.left_out == {"link to nothing": 2}


def test_what_macs_and_packers_add_is_hidden(tmp_path: Path) -> None:
    names = ("._0.png", ".DS_Store", "__MACOSX/0.png", "d/._0.cls", "PaxHeaders.12/0.png", ".git/1.png")
    write(tmp_path / "a.tar", {"./0.png": png(1), "d/0.png": png(2)} | dict.fromkeys(names, b"\0\5\x16\7"))
    source = open_source(str(tmp_path / "a.tar"))
    assert [source.key(i) for i in range(len(source))] == ["a/0.png", "a/d/0.png"]
    assert source.told.left_out == {"hidden": 6}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("0.png")
        info.size, info.pax_headers = len(png(1)), {"LIBARCHIVE.xattr.com.apple.preview": "x" * (3 << 20)}
        tar.addfile(info, io.BytesIO(png(1)))
    assert len(open_source(str(tmp_path / "a.tar"))) == 1


def test_sparse_members_are_left_out_with_advice(tmp_path: Path) -> None:
    (tmp_path / "hole.bmp").touch()
    os.truncate(tmp_path / "hole.bmp", 1 << 22)
    with (tmp_path / "hole.bmp").open("r+b") as file:
        for at in range(0, 1 << 22, 1 << 16):  # more stretches than a header has room for
            file.seek(at)
            file.write(b"x")
    (tmp_path / "0.png").write_bytes(png(1))
    for form in ("gnu", "posix"):
        command = ["tar", "-cSf", "a.tar", f"--format={form}", "hole.bmp", "0.png"]
        subprocess.run(command, cwd=tmp_path, check=True)
        source = open_source(str(tmp_path / "a.tar"))
        assert [source.key(i) for i in range(len(source))] == ["a/0.png"]
        assert source.told.left_out == {"sparse member": 1}
        assert "without --sparse" in source.told.lines()[0]


def test_letters_of_other_tars(tmp_path: Path) -> None:
    """A volume's name, a folder in the old way, a member of a kind that nobody knows."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "volume", kind=b"V")
        add(tar, "old/", kind=tarfile.AREGTYPE)
        add(tar, "0.png", png(4), kind=tarfile.CONTTYPE)
        add(tar, "1.png", png(4), kind=b"A")
    source = open_source(str(tmp_path / "a.tar"))
    assert (len(source), dict(source.told.left_out)) == (1, {"member of a kind that is not read": 2})
