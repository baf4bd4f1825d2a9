"""Reconstructing: what is written where, that a model makes it, and that interruptions leave no trace."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.images import picture, save
from tests.jobs.encoded import options, pictures
from tests.models import make_autoencoder, make_model
from tests.processes import two_processes
from vqcli import files
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs.reconstruct import reconstruct
from vqcli.jobs.verify import verify
from vqcli.pixels import GAP, normalize, to_tensor, to_uint8

NAMES = ["a/1.png", "a/2.jpg", "b/1.webp", "b/1.png", "c.gif"]


SCRIPT = """
import sys
from pathlib import Path
from tests.jobs.encoded import options
from vqcli.jobs.reconstruct import reconstruct
photos, model, out = sys.argv[1:]
result = reconstruct(options(photos, model, batch_size=2), Path(out))
assert (result.images, len(result.rejected)) == (5, 1)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def photos(tmp_path):
    folder = pictures(tmp_path / "photos", NAMES)
    (folder / "bad.jpg").write_bytes(b"no image")
    return folder


def pixels(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def written(folder):
    return {str(p.relative_to(folder)): pixels(p) for p in sorted(folder.rglob("*.png"))}


def whole(out):
    """Bytes of everything a job left, but the lock."""
    found = (path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def test_each_image_alone_and_beside_its_original(tmp_path, model, photos):
    out = tmp_path / "out"
    result = reconstruct(options(photos, model), out)
    assert (result.images, result.kept, result.size) == (5, 0, [8, 8])
    assert [(bad["key"], bad["reason"]) for bad in result.rejected] == [("bad.jpg", "not-an-image")]
    assert result.images_per_second > 0
    alone, beside = written(out / "reconstructions"), written(out / "side-by-side")
    assert list(alone) == list(beside) == ["a/1.png", "a/2.png", "b/1.png", "b/1.webp.png", "c.png"]
    tokenizer = load_tokenizer(model)
    for name in ("a/1", "a/2", "c"):
        (original,) = photos.glob(f"{name}.*")
        image = to_tensor(Image.fromarray(pixels(original)))
        with torch.inference_mode():
            made = to_uint8(tokenizer.roundtrip(normalize(image[None]))[0])[0].permute(1, 2, 0).numpy()
        assert np.abs(alone[f"{name}.png"].astype(int) - made).max() <= 1
        assert np.array_equal(beside[f"{name}.png"][:, :8], pixels(original))
        assert np.array_equal(beside[f"{name}.png"][:, 8 + GAP :], alone[f"{name}.png"])
    assert pixels(result.sheet).shape[1] > 16


def test_interrupted_work_goes_on_to_the_same_bytes(tmp_path, model, photos, monkeypatch):
    reconstruct(options(photos, model, batch_size=2), tmp_path / "whole")
    out, seen, write = tmp_path / "out", [], files.ImageWriter.write

    def failing(writer, path, image):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(path)
        write(writer, path, image)

    with monkeypatch.context() as patch:
        patch.setattr(files.ImageWriter, "write", failing)
        with pytest.raises(KeyboardInterrupt):
            reconstruct(options(photos, model, batch_size=2), out)
    (out / "reconstructions" / "a" / ".tmp-0-half.png").write_bytes(b"left by a kill")
    before = seen[0].stat().st_mtime_ns
    result = reconstruct(options(photos, model, batch_size=2), out)
    assert (result.images, result.kept) == (3, 2)  # of the third, one file of two was there
    assert seen[0].stat().st_mtime_ns == before
    assert whole(out) == whole(tmp_path / "whole")
    again = reconstruct(options(photos, model, batch_size=2), out)
    assert (again.images, again.kept, again.images_per_second) == (0, 5, None)
    assert [bad["key"] for bad in again.rejected] == ["bad.jpg"]


def test_a_mended_image_is_taken_up(tmp_path, model, photos):
    out = tmp_path / "out"
    reconstruct(options(photos, model), out)
    (photos / "bad.jpg").write_bytes(save(Image.fromarray(picture(8, 8)), "JPEG"))
    result = reconstruct(options(photos, model), out)
    assert (result.images, result.kept, result.rejected) == (1, 5, [])
    assert (out / "reconstructions" / "bad.png").is_file()


def test_two_settings_never_mix(tmp_path, model, photos):
    out, other = tmp_path / "out", make_model(tmp_path / "other", seed=1)
    reconstruct(options(photos, model), out)
    for asked, told in (
        (options(photos, other), "model "),
        (options(photos, model, limit=2), "images 6 -> 2"),
        (options(photos, model, size=(16, 16)), "size "),
    ):
        with pytest.raises(VqcliError, match=f"{out} holds images of another job: {told}") as refused:
            reconstruct(asked, out)
        assert refused.value.reason == "changed"
    forced = reconstruct(options(photos, model, limit=2), out, force=True)
    assert (forced.images, forced.kept) == (2, 0)
    assert list(written(out / "reconstructions")) == ["a/1.png", "a/2.png"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").touch()
    (tmp_path / "mine" / "reconstructions").mkdir()
    (tmp_path / "mine" / "reconstructions" / "c.png").write_bytes(b"mine")
    with pytest.raises(VqcliError, match="holds other files"):
        reconstruct(options(photos, model), tmp_path / "mine")
    assert reconstruct(options(photos, model), tmp_path / "mine", force=True).images == 5
    assert (tmp_path / "mine" / "diary.txt").exists()


def test_native_sizes_and_a_model_without_a_codebook(tmp_path, model):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, shape in {"a.png": (8, 8), "b.png": (5, 12), "c.png": (1, 9)}.items():
        (folder / name).write_bytes(save(Image.fromarray(picture(*shape)), "PNG"))
    result = reconstruct(options(folder, model, size="native"), tmp_path / "out")
    assert (result.images, result.size) == (2, None)
    assert [(bad["key"], bad["reason"]) for bad in result.rejected] == [("c.png", "too-small")]
    shapes = {name: image.shape[:2] for name, image in written(tmp_path / "out" / "reconstructions").items()}
    assert shapes == {"a.png": (8, 8), "b.png": (4, 12)}
    plain = make_autoencoder(tmp_path / "ae")
    assert reconstruct(options("demo:3", plain), tmp_path / "demo").images == 3


def test_what_cannot_be(tmp_path, model, photos):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "x.png").write_bytes(b"x")
    with pytest.raises(VqcliError, match=r"none of 1 images could be used \(not-an-image\)"):
        reconstruct(options(bad, model), tmp_path / "out")
    with pytest.raises(BadImage, match=r"bad\.jpg"):
        reconstruct(options(photos, model, strict=True), tmp_path / "strict")
    (tmp_path / "file").touch()
    with pytest.raises(VqcliError, match=r"out\.png is no name of a folder"):
        reconstruct(options(photos, model), tmp_path / "out.png")
    with pytest.raises(VqcliError, match="is no folder"):
        reconstruct(options(photos, model), tmp_path / "file")


def test_two_processes_write_what_one_does(tmp_path, model, photos):
    reconstruct(options(photos, model, batch_size=2), tmp_path / "one")
    two_processes(SCRIPT, photos, model, tmp_path / "two")
    one, two = whole(tmp_path / "one"), whole(tmp_path / "two")
    marks = [json.loads(each.pop(".reconstruct.json")) for each in (one, two)]
    assert marks[0] == marks[1]
    assert one == two


@pytest.mark.parametrize("folder", ["reconstructions", "side-by-side"])
def test_verify_misses_an_image(tmp_path, model, photos, folder):
    out = tmp_path / "out"
    reconstruct(options(photos, model), out)
    assert verify(out).findings == []
    (out / folder / "c.png").unlink()
    assert "has 10 of 11 images" in str(verify(out).findings)
