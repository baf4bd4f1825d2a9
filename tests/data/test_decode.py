import contextlib
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.images import corpus, picture, save
from vqcli import bounds
from vqcli.data.decode import decode_image
from vqcli.data.location import Disk
from vqcli.errors import BadImage

CORPUS = corpus()


@pytest.mark.parametrize("name", CORPUS)
def test_corpus(name: str) -> None:
    odd = CORPUS[name]
    if odd.pixels is None:
        with pytest.raises(BadImage) as caught:
            decode_image(odd.data, name)
        assert (caught.value.key, caught.value.reason) == (name, odd.reason)
        return
    image = decode_image(odd.data, name)
    assert image.mode == "RGB"
    got = np.array(image).astype(int)
    assert got.shape == odd.pixels.shape
    assert np.abs(got - odd.pixels).max() <= odd.tolerance


def test_all_levels_of_16_bit_grey_stay_in_use() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert len(np.unique(np.array(decode_image(save(Image.fromarray(ramp), "PNG"), "ramp")))) == 256


def test_cut_anywhere_is_refused() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8))
    for kind, end in (("JPEG", -2), ("PNG", -16), ("WEBP", -1), ("BMP", -1)):
        data = save(noise, kind)
        for length in range(1, len(data) + end, 37):
            with pytest.raises(BadImage):
                decode_image(data[:length], kind)


def test_flipped_bits_never_escape() -> None:
    """Any damage is either not noticed by the format or a BadImage; no other exception, no warning."""
    rng = np.random.default_rng(2)
    originals = [odd.data for odd in CORPUS.values() if odd.pixels is not None and len(odd.data) < 5000]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in originals * 12:
            damaged = bytearray(data)
            for at in rng.integers(0, len(data), 3):
                damaged[at] ^= 1 << int(rng.integers(8))
            with contextlib.suppress(BadImage):
                decode_image(bytes(damaged), "damaged")


def test_paths(tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(save(Image.fromarray(picture()), "PNG"))
    for place in (good, Disk(good)):
        assert np.array_equal(np.array(decode_image(place, "good")), picture())
    os.mkfifo(tmp_path / "pipe.png")
    with open(tmp_path / "huge.png", "wb") as file:
        file.truncate(bounds.IMAGE + 1)
    for path, reason in (
        (tmp_path / "absent.png", "missing"),
        (tmp_path / "pipe.png", "not-a-file"),
        (tmp_path / "huge.png", "file-too-large"),
        (tmp_path, "not-a-file"),
    ):
        with pytest.raises(BadImage) as caught:
            decode_image(Disk(path), "k")
        assert caught.value.reason == reason
