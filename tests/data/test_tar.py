import io
import tarfile
from pathlib import Path

import pytest

from tests.data.test_sources import make_tar, png
from vqcli.data.images.open import open_source
from vqcli.errors import VqcliError


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, "../elsewhere"
    tar.addfile(info, io.BytesIO(data))


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
    assert [source.key(0), source.key(1)] == [name, "short.png"]
    assert source[1].image.getpixel((0, 0)) == (6, 0, 0)


def test_only_regular_images_are_looked_at(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            add(tar, f"{ord(kind)}.png", kind=kind)
        add(tar, "000.pkl", b"cos\nsystem\n")
        add(tar, "../../evil.png", png(1))
    source = open_source(str(tmp_path / "a.tar"))
    assert [source.key(i) for i in range(len(source))] == ["../../evil.png"]


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


def test_what_cannot_be_told_apart_is_an_error(tmp_path: Path) -> None:
    for first, second in (
        (("a.png", png(1)), ("a.png", png(2))),
        (("a.png", png(1)), ("a.cls", b"cat")),
        (("a.png", png(1)), ("a.json", b"{")),
        (("a.png", png(1)), ("a.cls", b"9" * (2 << 20))),
    ):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            add(tar, *first)
            add(tar, *second)
        with pytest.raises(VqcliError, match=r"a\.tar is damaged"):
            open_source(str(tmp_path / "a.tar"))


def test_not_a_tar(tmp_path: Path) -> None:
    for data, reason in ((b"", "damaged"), (b"\0" * 1024, "input-empty"), (b"hello" * 300, "damaged")):
        (tmp_path / "a.tar").write_bytes(data)
        with pytest.raises(VqcliError, match=r"a\.tar") as caught:
            open_source(str(tmp_path / "a.tar"))
        assert caught.value.reason == reason
