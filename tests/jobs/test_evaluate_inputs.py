"""Evaluation of inputs that are not as one would wish: mixed up, damaged, too few, in the way."""

import numpy as np
import pytest
from PIL import Image

from tests.jobs.evaluations import Stopper, options
from tests.models import make_model
from vqcli.jobs.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("small_evaluations")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", side=16)


def images(folder, count, seed=0, bad=()):
    """A folder of PNGs of 16x16, of which some are none."""
    folder.mkdir()
    pixels = np.random.default_rng(seed).integers(256, size=(count, 2, 2, 3), dtype=np.uint8)
    for i in range(count):
        Image.fromarray(pixels[i]).resize((16, 16)).save(folder / f"{i:02d}.png")
    for i in bad:
        (folder / f"{i:02d}.png").write_bytes(b"no image")
    return folder


def interrupted(asked):
    with pytest.raises(KeyboardInterrupt):
        evaluate(asked, progress=Stopper(9))


@pytest.mark.parametrize("form", ["folder", "npz"])
def test_images_of_the_same_names_are_not_taken_for_others(tmp_path, model, form):
    one, other = (images(tmp_path / name, 11, seed) for seed, name in enumerate(("one", "other")))
    if form == "npz":
        for folder in (one, other):
            np.savez(f"{folder}.npz", np.stack([Image.open(path) for path in sorted(folder.iterdir())]))
        one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    for sides in (lambda x: (x, "demo:3", ("fid",)), lambda x: ("demo:11", x, ("fid",))):
        interrupted(options(*sides(one)))
        again = Stopper(100)
        evaluate(options(*sides(other)), progress=again)
        assert again.begun[0][2] == 0
    interrupted(options(model, one))
    again = Stopper(100)
    evaluate(options(model, other), progress=again)
    assert again.begun == [("reconstruct", 11, 0)]
