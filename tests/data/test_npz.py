"""Array files: images where they lie, labels, statistics, and what is neither."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tests.images import save
from vqcli.data.images.npz import NpzSource, read_statistics
from vqcli.data.images.open import open_source
from vqcli.data.location import Disk
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs.npz import write_npz
from vqcli.pixels import to_tensor
from vqcli.types import Reading

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (7, 6, 9, 3), dtype=np.uint8)
WRITERS = [np.savez, np.savez_compressed]


def statistics(features: int = 5) -> dict[str, np.ndarray]:
    return {
        "mu": RNG.normal(size=features),
        "sigma": RNG.normal(size=(features, features)),
        "mu_s": RNG.normal(size=features + 1).astype(np.float32),
        "sigma_s": np.asfortranarray(RNG.normal(size=(features + 1, features + 1))),
    }


def member(array: np.ndarray, header: dict | None = None, version: int = 1) -> bytes:
    """The bytes of an ``.npy``; ``header`` changes what it says of itself."""
    file = io.BytesIO()
    told = np.lib.format.header_data_from_array_1_0(array) | (header or {})
    getattr(np.lib.format, f"write_array_header_{version}_0")(file, told)
    return file.getvalue() + array.tobytes()


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("write", WRITERS)
def test_pixels_labels_and_keys(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "x.npz", IMAGES, np.arange(7) - 1)
    source = open_source(str(tmp_path / "x.npz"))
    assert (len(source), source.classes, source.splits) == (7, [], ())
    assert [source.key(i) for i in (0, 6)] == ["000000", "000006"]
    assert [source.label(i) for i in range(7)] == [None, *range(6)]
    for copy in (source, pickle.loads(pickle.dumps(source))):
        assert all(np.array_equal(np.array(copy[i].image), IMAGES[i]) for i in range(7))
    for i in (-1, 7):
        with pytest.raises(IndexError):
            source[i]


def test_what_generate_writes_is_read(tmp_path: Path) -> None:
    for i, image in enumerate(IMAGES):
        (tmp_path / f"{i}.png").write_bytes(save(Image.fromarray(image), "PNG"))
    write_npz(tmp_path / "x.npz", [tmp_path / f"{i}.png" for i in range(7)], (6, 9))
    source = NpzSource([Disk(tmp_path / "x.npz")])
    assert np.array_equal(np.stack([np.array(source[i].image) for i in range(7)]), IMAGES)
    assert source.label(3) is None


def test_a_reference_set(tmp_path: Path) -> None:
    told = statistics()
    np.savez(tmp_path / "x.npz", IMAGES, **told)
    assert len(NpzSource([Disk(tmp_path / "x.npz")])) == 7
    found = read_statistics(Disk(tmp_path / "x.npz"))
    assert list(found) == ["mu", "sigma", "mu_s", "sigma_s"]
    for name, values in found.items():
        assert values.dtype == np.float64
        assert np.array_equal(values, told[name])
    np.savez(tmp_path / "y.npz", mu=told["mu"], sigma=told["sigma"])
    assert list(read_statistics(Disk(tmp_path / "y.npz"))) == ["mu", "sigma"]
    np.savez(tmp_path / "z.npz", IMAGES)
    assert read_statistics(Disk(tmp_path / "z.npz")) == {}


def test_statistics_do_not_look_at_images(tmp_path: Path) -> None:
    told = {f"{name}.npy": member(values) for name, values in statistics().items() if name != "sigma_s"}
    told |= {"arr_0.npy": b"rubbish", "sigma_s.npy": member(np.eye(6))}
    assert len(read_statistics(Disk(archive(tmp_path / "x.npz", told)))) == 4


@pytest.mark.parametrize("write", WRITERS)
def test_workers_read_what_the_parent_opened(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "x.npz", IMAGES)
    source = NpzSource([Disk(tmp_path / "x.npz")])
    loader = DataLoader(_Pixels(source), batch_size=2, num_workers=2, multiprocessing_context="fork")
    found = torch.cat(list(loader)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(found, IMAGES)


class _Pixels:
    def __init__(self, source: NpzSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> torch.Tensor:
        return to_tensor(self.source[i].image)


def test_a_large_file_costs_nothing_to_open(tmp_path: Path) -> None:
    """A file of 3 GiB, nearly all of it a hole: what it holds is found behind the first 2 GiB."""
    shape = (16384, 256, 256, 3)
    path, size = tmp_path / "x.npz", int(np.prod(shape))
    archive(path, {"arr_0.npy": member(np.zeros((0, *shape[1:]), np.uint8), {"shape": shape})})
    whole = bytearray(path.read_bytes())
    end = directory(whole)
    length = end - 30 - len("arr_0.npy") + size
    struct.pack_into("<II", whole, end + 20, length, length)
    struct.pack_into("<I", whole, len(whole) - 6, end + size)
    with path.open("r+b") as file:
        file.seek(end + size - 3)
        file.write(b"\1\2\3" + whole[end:])
    tracemalloc.start()
    source = NpzSource([Disk(path)])
    last = source[16383].image
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert last.getpixel((255, 255)) == (1, 2, 3)
    assert peak < 4 << 20
    assert len(pickle.dumps(source)) < 80_000  # labels, 4 bytes each, and little else
    os.truncate(path, 2 << 30)
    with pytest.raises(BadImage, match="changed"):
        source[16383]
    path.unlink()
    with pytest.raises(VqcliError, match=f"{path} does not exist"):
        source[0]


def directory(data: bytes | bytearray) -> int:
    """Where the list of members begins."""
    return data.index(b"PK\1\2")


WRONG = {
    "no array": {"labels.npy": member(np.arange(3)), "text": b"x"},
    "nothing": {},
    "numbers": {"arr_0.npy": member(IMAGES.astype(np.float32))},
    "channels first": {"arr_0.npy": member(np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2)))},
    "one image": {"arr_0.npy": member(IMAGES[0])},
    "no images": {"arr_0.npy": member(IMAGES[:0])},
    "grey": {"arr_0.npy": member(np.ascontiguousarray(IMAGES[..., :1]))},
    "tokens": {"arr_0.npy": member(np.zeros((4, 8, 8), np.uint16))},
    "fortran": {"arr_0.npy": member(IMAGES, {"fortran_order": True})},
    "huge images": {"arr_0.npy": member(np.zeros((1, 8001, 8000, 3), np.uint8))},
}


@pytest.mark.parametrize("case", WRONG)
def test_arrays_that_are_no_images(tmp_path: Path, case: str) -> None:
    path = archive(tmp_path / "x.npz", WRONG[case], zipfile.ZIP_DEFLATED)
    with pytest.raises(VqcliError, match=r"x\.npz holds no images that can be used: .*arr_0") as caught:
        NpzSource([Disk(path)])
    assert caught.value.reason == "input-empty"
    assert "uint8 (N, H, W, 3)" in caught.value.hint


@pytest.mark.parametrize("labels", [np.arange(6), np.eye(7, dtype=np.int64), np.zeros(7, complex)])
def test_labels_that_are_none(tmp_path: Path, labels: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", IMAGES, labels)
    with pytest.raises(VqcliError, match=r"x\.npz: arr_1 is .*no label for each of 7 images") as caught:
        NpzSource([Disk(tmp_path / "x.npz")])
    assert caught.value.reason == "labels"
    assert NpzSource([Disk(tmp_path / "x.npz")], Reading(labels=False)).label(0) is None


@pytest.mark.parametrize(
    ("labels", "known", "classes"),
    [
        (np.array(["dog", "cat", ""] + ["cat"] * 4), [1, 0, None], ["cat", "dog"]),
        (np.array([b"dog", b"cat", b"-1"] + [b"cat"] * 4), [1, 0, None], ["cat", "dog"]),
        (np.array([2.0, 0, np.nan, 0, 0, 0, 0]), [2, 0, None], []),
        (np.array([True, False, True] * 2 + [True]), [1, 0, 1], []),
        (np.array([0, 2**63, 7, 7, 7, 7, 7], np.uint64), [0, 2, 1], ["0", "7", str(2**63)]),
        (np.array([-2, 2, -1, 0, 0, 0, 0]), [None, 2, None], []),
    ],
)
def test_labels_of_all_kinds(
    tmp_path: Path, labels: np.ndarray, known: list[int | None], classes: list[str]
) -> None:
    np.savez(tmp_path / "x.npz", IMAGES, labels)
    source = open_source(str(tmp_path / "x.npz"))
    assert ([source.label(i) for i in range(3)], source.classes) == (known, classes)
    assert ("something else" in "".join(source.told.lines())) == (labels[0] == -2)


def test_arrays_of_other_names_are_chosen(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_train=IMAGES, y_train=np.arange(7))
    with pytest.raises(VqcliError, match="no arr_0, but x_train, y_train") as caught:
        open_source(str(tmp_path / "x.npz"))
    assert "--image-column" in caught.value.hint
    source = open_source(str(tmp_path / "x.npz"), Reading(image_column="x_train", label_column="y_train"))
    assert (np.array(source[3].image).tolist(), source.label(3)) == (IMAGES[3].tolist(), 3)
    with pytest.raises(VqcliError, match="labels is not there"):
        open_source(str(tmp_path / "x.npz"), Reading(image_column="x_train", label_column="labels"))


@pytest.mark.parametrize("kind", ["u1", ">i2", "<i4", ">u8"])
def test_labels_of_any_whole_type(tmp_path: Path, kind: str) -> None:
    np.savez(tmp_path / "x.npz", IMAGES, np.arange(7).astype(kind))
    assert [NpzSource([Disk(tmp_path / "x.npz")]).label(i) for i in range(7)] == list(range(7))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sigma": None}, r"mu float64 \(5,\): no mean \(F,\) and covariance"),
        ({"mu_s": None}, r"sigma_s float64 \(6, 6\): no mean"),
        ({"sigma": np.eye(4)}, "no mean"),
        ({"mu": np.zeros((5, 5))}, "no mean"),
        ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, "no mean"),
        ({"mu": np.zeros(5, np.complex64)}, "no floating-point numbers"),
        ({"sigma": np.eye(5, dtype=int)}, "no floating-point numbers"),
        ({"sigma": np.full((5, 5), np.nan)}, "sigma holds numbers that are not finite"),
    ],
)
def test_statistics_that_are_none(tmp_path: Path, change: dict, told: str) -> None:
    held = {name: values for name, values in (statistics() | change).items() if values is not None}
    np.savez(tmp_path / "x.npz", **held)
    with pytest.raises(VqcliError, match=rf"x\.npz is damaged: .*{told}") as caught:
        read_statistics(Disk(tmp_path / "x.npz"))
    assert caught.value.reason == "damaged"
