"""Latents in the place of tokens: their shards, an interrupted job, and a generator that learns them."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from typer.testing import CliRunner

from tests.generators.toys import TOYS
from tests.jobs.encoded import Stop, contents
from tests.models import make_model
from tests.seals import put
from tests.training.test_generators_of_other_kinds import recipe
from tests.training.tiny import Recorded
from vqcli.checkpoint.generator import load_generator
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.cli.app import app
from vqcli.data.tokens.files import open_tokens
from vqcli.data.tokens.latents import open_latent_rows
from vqcli.errors import VqcliError
from vqcli.jobs import encoder
from vqcli.jobs.encode import encode
from vqcli.jobs.options import ImageOptions, TrainOptions
from vqcli.jobs.train import train
from vqcli.parts import PARTS
from vqcli.pixels import normalize, to_tensor


class StopAt(Recorded):
    """Progress that stops a job after so many images."""

    def advance(self, n=1):
        self.steps += n
        if self.steps >= self.stop_at:
            raise Stop


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "tokenizer")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve pictures of two classes, of the model's size, and one that is none."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(12):
        path = folder / "train" / ("cat", "dog")[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    (folder / "train" / "cat" / "bad.png").write_bytes(b"no image")
    return folder


def options(model, images, **other):
    asked = {"device": "cpu", "num_workers": 0, "batch_size": 4, "latents": "float32"} | other
    return ImageOptions(str(images), str(model), **asked)


def stored(folder):
    """Latents by key."""
    rows = open_latent_rows(folder)
    values = rows.latents(np.arange(len(rows)), np.zeros(len(rows), np.int64))
    return {rows.key(i): values[i] for i in range(len(rows))}


def test_latents_are_the_model_s(model, images, tmp_path):
    result = encode(options(model, images), tmp_path / "latents")
    assert (result.encoded, result.width, result.codebook_size) == (12, 4, 0)
    assert [bad["reason"] for bad in result.rejected] == ["not-an-image"]
    tokenizer, rows = load_tokenizer(model), open_latent_rows(tmp_path / "latents")
    assert (rows.info.fingerprint, rows.info.sides) == (tokenizer.fingerprint, (4, 4))
    assert rows.info.classes == ("cat", "dog")
    for key, latents in stored(tmp_path / "latents").items():
        picture = to_tensor(Image.open(images / key).convert("RGB"))
        wanted = tokenizer.latents(normalize(picture[None])).detach().numpy()[0]
        np.testing.assert_allclose(latents, wanted, atol=1e-5)
        assert rows.labels[[rows.key(i) for i in range(12)].index(key)] == ("dog" in key)
    halves = tmp_path / "halves"
    encode(options(model, images, latents="float16"), halves)
    assert load_file(halves / "latents-00000.safetensors")["latents"].dtype == np.float16
    for key, latents in stored(halves).items():
        np.testing.assert_allclose(latents, stored(tmp_path / "latents")[key], rtol=1e-3, atol=1e-3)


def test_an_interrupted_job_goes_on_to_the_same_bytes(model, images, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "SHARD", 4)
    encode(options(model, images), tmp_path / "whole")
    with pytest.raises(Stop):
        encode(options(model, images), tmp_path / "cut", progress=StopAt(6))
    assert (tmp_path / "cut" / "latents-00000.safetensors").exists()
    assert not (tmp_path / "cut" / "index.json").exists()
    with pytest.raises(VqcliError, match="is not finished"):
        open_latent_rows(tmp_path / "cut")
    encode(options(model, images), tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    with pytest.raises(VqcliError, match="holds latents of another job: dtype float32 -> float16"):
        encode(options(model, images, latents="float16"), tmp_path / "cut")


def test_views_are_rows(model, images, tmp_path):
    encode(options(model, images, augment="flip"), tmp_path / "latents")
    rows = open_latent_rows(tmp_path / "latents")
    assert (len(rows), rows.views) == (12, 2)
    plain, mirrored = (rows.latents(np.array([0]), np.array([view])) for view in (0, 1))
    assert not np.array_equal(plain, mirrored)


def test_damage_is_noticed(model, images, tmp_path):
    folder = tmp_path / "latents"
    encode(options(model, images), folder)
    path = folder / "latents-00000.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(VqcliError, match="is missing or damaged: its hashes differ"):
        open_latent_rows(folder)


def test_what_cannot_be(model, images, tmp_path):
    with pytest.raises(VqcliError, match="latents are kept in shards") as refused:
        encode(options(model, images), tmp_path / "latents.npy")
    assert "-o latents/" in refused.value.hint
    with pytest.raises(VqcliError, match="--latents keeps latents of one size"):
        encode(options(model, images, size="native"), tmp_path / "native")
    encode(options(model, images), tmp_path / "latents")
    with pytest.raises(VqcliError, match="holds latents, not tokens"):
        open_tokens(tmp_path / "latents")


def test_a_generator_learns_them_as_it_learns_images(model, tmp_path, monkeypatch):
    for name, target in TOYS.items():
        monkeypatch.setitem(PARTS["generators"], name, target)
    torch.set_num_threads(1)
    encode(options(model, "demo:64", batch_size=16), tmp_path / "latents")
    path, results = str(recipe(tmp_path, "toy_flow", model)), []
    for name, source in (("images", "demo:64"), ("latents", str(tmp_path / "latents"))):
        settings = [f"data.source={source}", "data.holdout=0"]
        run = train(TrainOptions(path, tmp_path / "runs" / name, settings=settings, device="cpu"), Recorded())
        results.append(load_generator(run.model))
    for ours, theirs in zip(*(generator.parameters() for generator in results)):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    other = make_model(tmp_path / "other", seed=1)
    for kind, tokenizer, said in (
        ("toy_flow", other, r"the latents .* are not of the tokenizer .*: fingerprint"),
        ("toy_scales", model, "holds latents, the generator learns tokens"),
    ):
        asked = TrainOptions(str(recipe(tmp_path, kind, tokenizer)), tmp_path / "no", settings=settings)
        with pytest.raises(VqcliError, match=said):
            train(asked, Recorded())


def test_the_command(model, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("encode", images, "-m", model, "--latents", "float16", "--num-workers", 0, "--device", "cpu")
    done = CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")
    assert done.exit_code == 3, done.output  # one image was rejected
    assert re.match(r"latents  12 images, 4x4 latents of width 4, [\d.,]+ images/s, model ", done.stdout)
    plan = json.loads((tmp_path / "latents" / "plan.json").read_text())
    assert plan["latents"] | {"classes": 0} == {
        "width": 4,
        "sides": [4, 4],
        "dtype": "float16",
        "fingerprint": load_tokenizer(model).fingerprint,
        "preprocessing": "colours to sRGB, resize (bicubic) and centre crop to 8x8",
        "views": 1,
        "classes": 0,
    }


@pytest.mark.parametrize("kept", ["latents", "tokens"])
def test_a_damaged_plan_gets_a_sentence(kept, model, images, tmp_path):
    encode(options(model, images, latents="float32" if kept == "latents" else None), tmp_path / "out")
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    lacks = {"tokens": "codebook_size", "latents": "width"}[kept]
    for damaged, said in (({}, f"{lacks} must be given"), ([], "must be")):
        put(tmp_path / "out" / "plan.json", plan | {kept: damaged})
        with pytest.raises(VqcliError, match=rf"plan\.json is damaged: {kept}: {said}"):
            (open_latent_rows if kept == "latents" else open_tokens)(tmp_path / "out")
