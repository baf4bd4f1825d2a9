"""Tokens on the disk as programs read them, and what counts them."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import vqcli
from tests.models import make_model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Images of two classes, one of them not usable, encoded into both forms."""
    place = tmp_path_factory.mktemp("tokens")
    model = make_model(place / "model")
    for i in range(5):
        (place / "images" / f"c{i % 2}").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(place / "images" / f"c{i % 2}" / f"{i}.png")
    (place / "images" / "c0" / "9.png").write_bytes(b"no image")
    for out in ("t.npy", "shards"):
        options = vqcli.ImageOptions(str(place / "images"), str(model), num_workers=0, device="cpu")
        vqcli.encode_images(options, place / out)
    return place


def test_both_forms_hold_the_same(place):
    file, folder = vqcli.read_tokens(place / "t.npy"), vqcli.read_tokens(str(place / "shards"))
    assert isinstance(file.ids, np.memmap)
    assert np.array_equal(file.ids, folder.ids)
    assert file.ids.dtype == folder.ids.dtype == np.uint8
    assert file.keys == folder.keys == [f"c{i % 2}/{i}.png" for i in (0, 2, 4, 1, 3)]
    assert file.labels.tolist() == folder.labels.tolist() == [0, 0, 0, 1, 1]
    for found in (file, folder):
        assert (found.grid, found.codebook_size, found.classes) == (((4, 4),), 16, ("c0", "c1"))
        assert found.fingerprint == vqcli.load(place / "model", "cpu").spec.fingerprint
        assert len(found) == 5


def test_a_dataset(place):
    tokens = vqcli.read_tokens(place / "t.npy")
    data = tokens.dataset()
    ids, label = data[3]
    assert (ids.dtype, ids.shape, label, len(data)) == (torch.int64, (16,), 1, 5)
    assert torch.equal(ids, torch.from_numpy(tokens.ids[3].reshape(-1).astype(np.int64)))
    batches = list(DataLoader(data, batch_size=2, num_workers=1))
    assert [len(batch) for batch, _ in batches] == [2, 2, 1]
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 0, 0, 1, 1]


def test_another_process_maps_the_file_itself(place):
    data = vqcli.read_tokens(place / "t.npy").dataset()
    sent = pickle.dumps(data)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent)[0][0], data[0][0])


def test_an_array_of_others(tmp_path):
    np.save(tmp_path / "t.npy", np.arange(12, dtype=np.int32).reshape(2, 6))
    found = vqcli.read_tokens(tmp_path / "t.npy")
    assert (found.keys, found.labels.tolist(), found.grid) == (["000000", "000001"], [-1, -1], None)
    assert (found.codebook_size, found.fingerprint) == (None, "")


def test_what_is_no_tokens(tmp_path, place):
    for path, sentence in ((tmp_path / "away.npy", "does not exist"), (tmp_path, "holds no tokens")):
        with pytest.raises(vqcli.VqcliError, match=sentence):
            vqcli.read_tokens(path)


def test_usage_is_the_report_s(place):
    whole = vqcli.usage(str(place / "t.npy"))
    tokens = vqcli.read_tokens(place / "t.npy")
    by_array = vqcli.usage(tokens.ids, codebook_size=16)
    assert whole.usage == vqcli.usage(tokens).usage == vqcli.usage(place / "shards").usage == by_array.usage
    used = len(np.unique(tokens.ids))
    assert by_array.utilization == used / 16
    model = vqcli.usage(
        place / "model", images=str(place / "images"), num_workers=0, device="cpu", page=place / "page.html"
    )
    assert model.usage == whole.usage
    assert (place / "page.html").is_file()


def test_usage_of_what_is_changed(place, tmp_path):
    for name in ("t.npy", "t.json"):
        (tmp_path / name).write_bytes((place / name).read_bytes())
    held = bytearray((tmp_path / "t.npy").read_bytes())
    held[-1] ^= 1
    (tmp_path / "t.npy").write_bytes(held)
    with pytest.raises(vqcli.VqcliError, match="is damaged"):
        vqcli.usage(vqcli.read_tokens(tmp_path / "t.npy"))


def test_arrays_that_cannot_be_counted():
    with pytest.raises(ValueError, match="give codebook_size"):
        vqcli.usage(np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="do not fit a codebook of 4 codes"):
        vqcli.usage(np.full((2, 3), 4), codebook_size=4)
    with pytest.raises(ValueError, match="no images, page or options"):
        vqcli.usage(np.zeros((2, 3), int), codebook_size=4, images="demo")
