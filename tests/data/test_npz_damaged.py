"""Damaged array files: one sentence and a hint whatever is wrong, nothing unpickled, no bomb goes off."""

import io
import os
import pickle
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.test_npz import IMAGES, RNG, WRITERS, archive, directory, member, statistics
from tests.images import save
from vqcli import bounds
from vqcli.data.images.npz import NpzSource, read_statistics
from vqcli.data.images.open import open_source
from vqcli.data.location import Disk
from vqcli.errors import VqcliError


class Evil:
    """What must never be called."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("unpickled",)


OBJECTS = io.BytesIO()
np.save(OBJECTS, np.array([Evil()], object), allow_pickle=True)
GOOD = member(IMAGES)
LIES = {
    "bare pickle": (pickle.dumps(IMAGES), "magic"),
    "empty": (b"", "EOF"),
    "cut header": (GOOD[:40], "EOF"),
    "cut values": (GOOD[:-1], r"is said to be uint8 \(7, 6, 9, 3\), but has 1133 bytes"),
    "more values": (GOOD + b"x", "but has 1135 bytes"),
    "too many": (member(IMAGES, {"shape": (8, 6, 9, 3)}), "but has 1134 bytes"),
    "far too many": (member(IMAGES, {"shape": (10**18, 10**9, 9, 3)}), "but has 1134 bytes"),
    "digits without end": (member(IMAGES, {"shape": "9" * 5000}).replace(b"'999", b"9999"), "header"),
    "negative": (member(IMAGES, {"shape": (-7, -6, 9, 3)}), "is said to be"),
    "true": (member(IMAGES, {"shape": (7.0, 6, 9, 3)}), "not valid"),
    "code": (GOOD.replace(b"False", b"exit("), "header of .* cannot be parsed"),
    "no dictionary": (GOOD.replace(b"{", b"["), "Cannot parse header"),
    "nested": (member(IMAGES, {"shape": "(" * 300}).replace(b"'((", b"((("), "cannot be parsed"),
    "version 9": (GOOD[:6] + b"\x09" + GOOD[7:], "unknown version"),
    "unknown type": (GOOD.replace(b"|u1", b"|q1"), "not a valid dtype"),
    "long header": (member(IMAGES, {"descr": [("a" * 12_000, "|u1")]}, 2), "Header info length"),
    "endless header": (b"\x93NUMPY\2\0" + struct.pack("<I", 1 << 31) + b" " * 20_000, "EOF"),
}


def assert_told(error: VqcliError) -> None:
    assert error.reason == "damaged"
    assert error.hint
    assert "\n" not in str(error)
    assert len(str(error)) < 400


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("case", LIES)
def test_members_that_lie(tmp_path: Path, monkeypatch, case: str, method: int) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    data, told = LIES[case]
    for name in ("arr_0", "sigma"):
        path = archive(tmp_path / "x.npz", {f"{name}.npy": data}, method)
        with pytest.raises(VqcliError, match=rf"x\.npz is damaged: .*{told}") as caught:
            NpzSource([Disk(path)]) if name == "arr_0" else read_statistics(Disk(path))
        assert_told(caught.value)
    assert not (tmp_path / "unpickled").exists()


def test_objects_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("arr_0", "sigma"):
        path = archive(tmp_path / "x.npz", {f"{name}.npy": OBJECTS.getvalue()})
        with pytest.raises(VqcliError, match=rf"x\.npz: {name} holds Python objects") as caught:
            NpzSource([Disk(path)]) if name == "arr_0" else read_statistics(Disk(path))
        assert caught.value.reason == "unsafe"
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("write", WRITERS)
def test_cut_anywhere(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "x.npz"
    write(path, IMAGES, np.arange(7), **statistics())
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        for read in (lambda file: NpzSource([file]), read_statistics):
            with pytest.raises(VqcliError, match=r"x\.npz is damaged") as caught:
                read(Disk(path))
            assert_told(caught.value)


@pytest.mark.parametrize("write", WRITERS)
def test_any_byte_changed(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    """Good images, or one sentence; whatever byte is another one, nothing else."""
    path, refused = tmp_path / "x.npz", []
    write(path, IMAGES[:2, :2, :2], np.arange(2))
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        try:
            source = NpzSource([Disk(path)])
        except VqcliError as e:
            refused.append(e)
        else:
            assert all(source[i].image.mode == "RGB" for i in range(len(source)))
    assert len(refused) > len(whole) // 4
    for error in refused:
        assert re.match(r".*x\.npz (is damaged|holds no images)", str(error))
        assert error.hint


def test_rubbish(tmp_path: Path) -> None:
    image = save(Image.fromarray(IMAGES[0]), "PNG")
    for data in (b"", b"PK", b"x" * 100, image, RNG.bytes(5000), b"PK\5\6" + b"\0" * 18):
        (tmp_path / "x.npz").write_bytes(data)
        with pytest.raises(VqcliError, match=r"x\.npz (is damaged|holds no images)"):
            open_source(str(tmp_path / "x.npz"))
    for name in ("absent.npz", ""):
        with pytest.raises(VqcliError, match=r"cannot read|does not exist") as caught:
            read_statistics(Disk(tmp_path / name))
        assert caught.value.reason == "input-missing"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MEMORY", 1 << 20)
    zeros = np.zeros((400, 32, 32, 3), np.uint8)
    np.savez_compressed(tmp_path / "x.npz", zeros)
    tracemalloc.start()
    with pytest.raises(VqcliError, match=r"arr_0 of .*x\.npz would take 0\.0 GiB of memory") as caught:
        NpzSource([Disk(tmp_path / "x.npz")])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (caught.value.reason, "numpy.savez" in caught.value.hint) == ("memory", True)
    assert peak < 1 << 20
    np.savez(tmp_path / "x.npz", zeros)
    assert len(NpzSource([Disk(tmp_path / "x.npz")])) == 400


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", {"arr_0.npy": GOOD})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[directory(data) + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(VqcliError, match="encrypted"):
        NpzSource([Disk(path)])


def test_names_in_a_file_are_told_in_one_line(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", {f"line\n\x1b[2J{i}.npy": GOOD for i in range(99)})
    with pytest.raises(VqcliError, match=r"no arr_0, but line  \[2J0, line") as caught:
        NpzSource([Disk(path)])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
