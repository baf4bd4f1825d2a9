"""Encoding several views of every image."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.jobs.encoded import Stop, contents, options, pictures
from tests.models import make_model
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.images.folder import FolderSource
from vqcli.data.images.views import Views
from vqcli.data.location import Disk
from vqcli.data.tokens import store
from vqcli.data.tokens.files import open_tokens
from vqcli.data.tokens.rows import open_token_rows
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs import encoder
from vqcli.jobs.encode import encode
from vqcli.pixels import to_tensor

AUGMENTED = [("flip", 2), ("ten-crop", 10)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(encoder, "SHARD", 4)


@pytest.mark.parametrize(("augment", "views"), AUGMENTED)
def test_every_view_is_a_row_of_its_own(tmp_path, model, small_shards, augment, views):
    names = [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(3)]
    source = FolderSource(Disk(pictures(tmp_path / "in", names)))
    result = encode(options(tmp_path / "in", model, augment=augment), tmp_path / "t.npy")
    encode(options(tmp_path / "in", model, augment=augment), tmp_path / "t")
    array, side = np.load(tmp_path / "t.npy"), json.loads((tmp_path / "t.json").read_text())
    assert (result.encoded, result.views, array.shape) == (6, views, (6 * views, 4, 4))
    assert side["keys"] == [f"{name}#{view}" for name in names for view in range(views)]
    assert side["labels"] == [label for label in (0, 0, 0, 1, 1, 1) for _ in range(views)]
    assert (side["views"], side["classes"]) == (views, ["cat", "dog"])
    drawn = Views(source, (8, 8), 1.1 if views == 10 else None)
    assert side["preprocessing"] == f"colours to sRGB, {drawn.preprocessing}"
    images = torch.stack([to_tensor(drawn[i].image) / 127.5 - 1 for i in range(6 * views)])
    with torch.inference_mode():
        ids = [load_tokenizer(model).encode(part).ids for part in images.split(4)]
    assert np.array_equal(array.reshape(len(array), -1), torch.cat(ids))
    shards = [load_file(path)["tokens"] for path in sorted((tmp_path / "t").glob("*.safetensors"))]
    assert [len(shard) for shard in shards] == [4 * views, 2 * views]  # whole images
    assert np.array_equal(np.concatenate(shards), array.reshape(len(array), -1))
    plan = json.loads((tmp_path / "t" / "plan.json").read_text())
    assert (plan["inputs"]["images"], plan["tokens"]["views"]) == (6, views)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 300])
@pytest.mark.parametrize(("augment", "views"), AUGMENTED)
def test_a_shard_holds_whole_images_and_whole_batches(tmp_path, model, augment, views, batch_size):
    made = encoder.Encoder(options("demo:900", model, augment=augment, batch_size=batch_size, limit=850))
    assert made.count == 850 * views
    assert (made.per_shard % views, made.per_shard % batch_size) == (0, 0)
    assert 128 * views < made.per_shard <= max(256, batch_size) * views
    assert np.array_equal(np.concatenate([*map(made.shard, range(made.shards))]), np.arange(850 * views))


@pytest.mark.parametrize("form", ["t.npy", "t"])
@pytest.mark.parametrize(("augment", "views"), AUGMENTED)
def test_an_image_without_views_is_rejected_once(tmp_path, model, small_shards, form, augment, views):
    folder = pictures(tmp_path / "in", [f"{i}.png" for i in range(7)])
    (folder / "1.png").write_bytes(b"")
    (folder / "5.png").write_bytes(b"text")
    heard = Heard()
    result = encode(options(folder, model, augment=augment), tmp_path / form, progress=heard)
    bad = [{"key": "1.png", "reason": "empty-file"}, {"key": "5.png", "reason": "not-an-image"}]
    assert (result.encoded, result.rejected) == (5, bad)
    assert heard.said == [("encode", 7 * views, "views"), 7 * views, {"rejected": 2}]
    found = open_token_rows(tmp_path / form)
    assert [found.key(i) for i in range(len(found))] == ["0.png", "2.png", "3.png", "4.png", "6.png"]
    assert (found.views, len(open_tokens(tmp_path / form))) == (views, 5 * views)
    with pytest.raises(BadImage, match=r"^1\.png: empty-file$"):
        encode(options(folder, model, augment=augment, strict=True), tmp_path / "s.npy")
    for i in range(7):
        (folder / f"{i}.png").write_bytes(b"")
    with pytest.raises(VqcliError, match="none of 7 images could be used"):
        encode(options(folder, model, augment=augment), tmp_path / "n.npy")


class Heard:
    """Progress as it was told: what began, how much was done, the last numbers."""

    def __init__(self):
        self.said = []

    def start(self, what, total, unit, done=0):
        self.said = [(what, total, unit), done, {}]

    def advance(self, n=1):
        self.said[1] += n

    def show(self, **numbers):
        self.said[2] = numbers

    def say(self, text): ...


def test_an_image_that_changes_between_its_views_has_none(tmp_path, model, monkeypatch):
    """A batch of 4 ends in the middle of ten views; the next worker finds the file gone."""
    folder, read = pictures(tmp_path / "in", ["0.png", "1.png"]), Views._covered
    reads = []

    def vanishing(views, number):
        reads.append(number)
        if number == 1 and len(reads) > 14:
            views._last = None
            (folder / "1.png").unlink(missing_ok=True)
        return read(views, number)

    monkeypatch.setattr(Views, "_covered", vanishing)
    result = encode(options(folder, model, augment="ten-crop"), tmp_path / "t")
    assert (result.encoded, result.rejected) == (1, [{"key": "1.png", "reason": "missing"}])
    assert len(open_token_rows(tmp_path / "t")) == 1


@pytest.mark.parametrize("form", ["t.npy", "t"])
def test_an_interrupted_augmented_job_ends_with_the_same_bytes(tmp_path, model, small_shards, form):
    folder = pictures(tmp_path / "in", [f"{i:02d}.png" for i in range(11)])
    (folder / "06.png").write_bytes(b"")
    whole, cut = tmp_path / "whole" / form, tmp_path / "cut" / form
    encode(options(folder, model, augment="flip"), whole)
    written, write = [], store.write_shard

    def failing(folder, shard, *rest):
        if len(written) == 2:
            raise Stop
        written.append(shard)
        write(folder, shard, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "write_shard", failing)
        with pytest.raises(Stop):
            encode(options(folder, model, augment="flip"), cut)
    encode(options(folder, model, augment="flip"), cut)
    assert written == [0, 1]
    assert contents(cut) == contents(whole)


def test_views_are_of_one_size(tmp_path, model):
    for augment, _ in AUGMENTED:
        with pytest.raises(VqcliError, match=f"--augment {augment} makes views of one size, --size native"):
            encode(options("demo:2", model, augment=augment, size="native"), tmp_path / "t")
    encode(options("demo:2", model, augment="ten-crop", size=(8, 12), crop_range=1.5), tmp_path / "t")
    told = json.loads((tmp_path / "t" / "plan.json").read_text())["tokens"]["preprocessing"]
    assert told == "colours to sRGB, resize (bicubic) and centre crop to 12x18, ten crops of 8x12"
