"""Runs of generators that make latents, or look at the codes: trained, resumed, exported, sampled."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pydantic import TypeAdapter
from safetensors.torch import load_file

from tests.generators.toys import TOYS
from tests.models import make_autoencoder, make_model
from tests.training.tiny import Recorded, assert_same, metrics, resume
from vqcli.checkpoint.generator import load_generator, save_generator
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.images.demo import DemoSource
from vqcli.errors import Interrupted, VqcliError
from vqcli.jobs.check import check_recipe
from vqcli.jobs.encode import encode
from vqcli.jobs.encoder import ImageOptions
from vqcli.jobs.generate import generate
from vqcli.jobs.generate_tokens import generate_tokens
from vqcli.jobs.sampler import GenerateOptions
from vqcli.jobs.train import TrainOptions, TrainResult, train
from vqcli.parts import PARTS
from vqcli.pixels import CenterCrop, normalize, to_tensor
from vqcli.registry import GeneratorConfig, build

TRAINING = {
    "steps": 6, "batch_size": 16, "log_every": 2, "sample_every": 3, "validate_every": 3,
    "validation_images": 8, "checkpoint_every": 4, "average": 0.5,
}  # fmt: skip
RECIPE = {
    "task": "generator",
    "data": {"source": "demo:64", "num_workers": 0, "augment": "none"},
    "optimizer": {"name": "adamw", "lr": 1e-2},
    "training": TRAINING,
}


KINDS = {
    "toy_flow": {},
    "toy_scales": {},
    "var": {"classes": 10, "layers": 2, "heads": 2, "width": 16, "drop_path": 0.2, "progressive": 4},
}
"""Generators of these tests, with their options."""
SHEETS = {"toy_flow": 5, "toy_scales": 6, "var": 6}
"""Rows of their samples: of five classes, and of what has scales the first image from coarse to fine."""


@pytest.fixture(autouse=True, scope="module")
def toys():
    with pytest.MonkeyPatch.context() as patch:
        for name, target in TOYS.items():
            patch.setitem(PARTS["generators"], name, target)
        yield


@pytest.fixture(scope="module")
def finished(toys, tokenizers, tmp_path_factory) -> dict[str, TrainResult]:
    """A run of each toy, which tests do not change."""
    return {kind: start(tmp_path_factory.mktemp("runs") / kind, kind, tokenizers) for kind in KINDS}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory) -> dict[str, Path]:
    """One that each of the toys learns from."""
    folder = tmp_path_factory.mktemp("models")
    scales = {"name": "multiscale", "scales": [1, 2, 4], "phis": 2}
    return {
        "toy_flow": make_model(folder / "nearest"),
        "toy_scales": make_model(folder / "scales", quantizer=scales),
        "var": make_model(folder / "more-scales", quantizer=scales),
    }


def recipe(folder, kind, tokenizer) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}.yaml"
    path.write_text(
        yaml.safe_dump(RECIPE | {"tokenizer": str(tokenizer), "generator": {"name": kind} | KINDS[kind]})
    )
    return path


def start(run, kind, tokenizers, *settings, progress=None):
    torch.set_num_threads(1)
    path = recipe(run.parent, kind, tokenizers[kind])
    asked = TrainOptions(str(path), run, settings=list(settings), device="cpu")
    return train(asked, progress or Recorded())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_continues_to_the_same_bits(kind, finished, tokenizers, tmp_path):
    result, stopped = finished[kind], tmp_path / "stopped"
    whole = result.run
    with pytest.raises(Interrupted):
        start(stopped, kind, tokenizers, progress=Recorded(stop_at=5))
    resume(stopped)
    assert_same(whole, stopped)
    loss = "velocity" if kind == "toy_flow" else "cross_entropy"
    assert result.measured[loss] > 0
    assert metrics(whole)[0][loss] > 0
    images = sorted((whole / "samples").glob("*.png"))
    height = SHEETS[kind] * 10 - 2
    assert [np.array(Image.open(path)).shape[:2] for path in images] == [(height, 78)] * 2


def test_a_sheet_shows_an_image_from_coarse_to_fine(finished):
    """Its last scale is the image itself; what is not filled is white."""
    sheet = np.array(Image.open(sorted((finished["var"].run / "samples").glob("*.png"))[-1])).astype(int)
    rows = [sheet[top : top + 8].reshape(8, -1, 3) for top in (0, 10)]
    assert np.abs(rows[0][:, 20:28] - rows[1][:, :8]).max() <= 1
    assert (rows[0][:, 28:] == 255).all()
    assert np.abs(rows[0][:, :8] - rows[0][:, 10:18]).max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_generated_through_the_tokenizer(kind, finished, tmp_path):
    run = finished[kind].run
    options = GenerateOptions(("0-2",), model=str(run), count=2, device="cpu", batch_size=4)
    result = generate(options, tmp_path / "images")
    assert result.images == 6
    pixels = [np.array(Image.open(path)) for path in sorted((tmp_path / "images").glob("*.png"))]
    assert len(pixels) == 6
    assert {image.shape for image in pixels} == {(8, 8, 3)}
    assert len({image.tobytes() for image in pixels}) > 1
    again = GenerateOptions(("1",), model=str(run), count=2, device="cpu", batch_size=4)
    generate(again, tmp_path / "again")
    for path in (tmp_path / "again").glob("*.png"):
        pair = [np.array(Image.open(p)).astype(int) for p in (path, tmp_path / "images" / path.name)]
        assert np.abs(pair[0] - pair[1]).max() <= 1


def test_latents_are_standardized_and_told(finished, tokenizers, tmp_path):
    result = finished["toy_flow"]
    spec, tokenizer = load_generator(result.model).spec, load_tokenizer(tokenizers["toy_flow"])
    source = DemoSource(64, (8, 8))
    crop, stream = CenterCrop((8, 8)), np.random.default_rng
    images = torch.stack([to_tensor(crop(source[i].image, stream)) for i in range(64)])
    z = tokenizer.latents(normalize(images)).detach().double()
    mean, std = z.mean((0, 2, 3)).float(), z.std((0, 2, 3), unbiased=False).float()
    torch.testing.assert_close(torch.tensor(spec.latents.mean), mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.tensor(spec.latents.std), std, atol=1e-4, rtol=1e-4)
    config = json.loads((result.model / "config.json").read_text())
    assert config["tokenizer"]["latents"]["mean"] == list(spec.latents.mean)
    card = (result.model / "README.md").read_text()
    assert "latents of width 4, standardized" in card
    loss = result.measured["velocity"]
    assert f"Velocity {loss:.4f} on 8 held-out images." in card
    assert result.summary == [f"velocity {loss:.4f}, over 8 held-out images"]
    second = start(tmp_path / "second", "toy_flow", tokenizers, f"init={result.model}", "data.source=demo:32")
    assert load_generator(second.model).spec.latents == spec.latents  # of the weights that it started from


class Stretches(Recorded):
    """Also keeps which stretches of work began, and how far each came."""

    def __init__(self):
        super().__init__()
        self.begun = []

    def start(self, what, total, unit, done=0):
        super().start(what, total, unit, done)
        self.begun.append([what, total, unit, 0])

    def advance(self, n=1):
        super().advance(n)
        self.begun[-1][3] += n


def test_latents_are_measured_in_whole_batches_before_training(tokenizers, tmp_path):
    progress = Stretches()
    settings = ("training.accumulate=2", "training.batch_size=32", "training.steps=2")
    start(tmp_path / "run", "toy_flow", tokenizers, *settings, progress=progress)
    assert progress.begun[:2] == [["measure latents", 4, "batches", 4], ["train", 2, "steps", 2]]


def test_the_average_is_measured_with_latents_as_they_are_learned(tokenizers, tmp_path):
    settings = ("training.validate_every=1", "training.sample_every=6")  # nothing is drawn of it before
    assert start(tmp_path / "run", "toy_flow", tokenizers, *settings).measured["velocity"] > 0


def test_weights_that_learned_latents_as_they_are_go_on_with_these(tokenizers, tmp_path):
    tokenizer = load_tokenizer(tokenizers["toy_flow"])
    config = TypeAdapter(GeneratorConfig).validate_python({"name": "toy_flow"})
    save_generator(build("generators", config, tokenizer.spec), tmp_path / "plain", None)
    run = start(tmp_path / "run", "toy_flow", tokenizers, f"init={tmp_path / 'plain'}")
    assert load_generator(run.model).spec.latents is None


def test_of_tokens_latents_are_the_codes(tokenizers, tmp_path):
    tokens = tmp_path / "tokens.npy"
    encode(ImageOptions("demo:64", str(tokenizers["toy_flow"]), device="cpu", num_workers=0), tokens)
    spec = load_generator(
        start(tmp_path / "run", "toy_flow", tokenizers, f"data.source={tokens}", "data.holdout=0").model
    ).spec
    codes_kd = load_file(tokenizers["toy_flow"] / "codebook.safetensors")["codes"]
    chosen_nd = codes_kd[torch.from_numpy(np.load(tokens).astype(np.int64)).flatten()]
    torch.testing.assert_close(torch.tensor(spec.latents.mean), chosen_nd.mean(0), atol=1e-5, rtol=1e-4)


def test_latents_are_no_tokens(finished, tmp_path):
    run = finished["toy_flow"].run
    with pytest.raises(VqcliError, match="makes latents, not tokens"):
        generate_tokens(GenerateOptions(("0",), model=str(run), device="cpu"), tmp_path / "t.npy")


@pytest.mark.parametrize("kind", KINDS)
def test_checked_without_training(kind, tokenizers, tmp_path):
    found = check_recipe(str(recipe(tmp_path, kind, tokenizers[kind])), [])
    assert found.parameters["total"] > 0
    assert found.memory["activations"] > 0


def test_latents_of_an_autoencoder_are_learned_and_rendered(tmp_path):
    tokenizer = make_autoencoder(tmp_path / "kl", posterior=True, scale=0.5, shift=0.1)
    result = start(tmp_path / "run", "toy_flow", {"toy_flow": tokenizer})
    model = load_generator(result.model)
    assert model.spec.width == 4
    assert model.spec.latents is not None
    asked = GenerateOptions(("0-1",), model=str(result.model), count=2, device="cpu")
    assert generate(asked, tmp_path / "images").images == 4
    with pytest.raises(VqcliError, match="has no codebook"):
        start(tmp_path / "no", "toy_scales", {"toy_scales": tokenizer})
    assert not (tmp_path / "no").exists()


def test_latents_are_decoded_as_they_are_where_that_is_asked(finished, tmp_path):
    run = str(finished["toy_flow"].run)
    asked = {"model": run, "count": 2, "device": "cpu"}
    generate(GenerateOptions(("0",), **asked), tmp_path / "moved")
    generate(GenerateOptions(("0",), **asked, quantize=False), tmp_path / "kept")
    names = [path.name for path in (tmp_path / "moved").glob("*.png")]
    pairs = [[np.array(Image.open(tmp_path / each / name)) for each in ("moved", "kept")] for name in names]
    assert len(pairs) == 2
    assert not any(np.array_equal(*pair) for pair in pairs)
    with pytest.raises(VqcliError, match="images of another job: quantize None -> False"):
        generate(GenerateOptions(("0",), **asked, quantize=False), tmp_path / "moved")


def test_smoother_images_have_no_tokens(finished, tmp_path):
    """They are decoded as they are mixed: with the likeliest code alone, they are those of its tokens."""
    asked = {"model": str(finished["var"].run), "count": 2, "device": "cpu"}
    made = {}
    for name, sampling in {
        "drawn": {"top_k": 1},
        "mixed": {"top_k": 1, "more_smooth": True},
        "smooth": {"more_smooth": True},
    }.items():
        generate(GenerateOptions(("0",), **asked, sampling=sampling), tmp_path / name)
        paths = sorted((tmp_path / name).glob("*.png"))
        made[name] = np.stack([np.array(Image.open(path)).astype(int) for path in paths])
    assert np.abs(made["mixed"] - made["drawn"]).max() <= 1
    assert np.abs(made["smooth"] - made["drawn"]).max() > 1
    smooth = GenerateOptions(("0",), **asked, sampling={"more_smooth": True})
    with pytest.raises(VqcliError, match="makes latents, not tokens, with this sampling"):
        generate_tokens(smooth, tmp_path / "t.npy")
    tokens = generate_tokens(GenerateOptions(("0",), **asked), tmp_path / "t.npy")
    assert tokens.grid == [[1, 1], [2, 2], [4, 4]]
