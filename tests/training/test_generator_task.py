"""A generator's run: on tokens or on images, stopped and resumed, exported with its tokenizer."""

import io
import json
import math
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from tests.models import make_model
from tests.seals import put
from tests.training import tiny
from tests.training.tiny import Recorded, assert_same, metrics, resume, tensors
from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.generator import load_generator
from vqcli.checkpoint.tokenizer import load_tokenizer, read_tokenizer_outline
from vqcli.data.images.demo import CLASSES
from vqcli.errors import Interrupted, VqcliError
from vqcli.generators.base import image_stream
from vqcli.jobs.encode import encode
from vqcli.jobs.encoder import ImageOptions
from vqcli.jobs.generate import generate
from vqcli.jobs.sampler import GenerateOptions
from vqcli.jobs.train import TrainOptions, train
from vqcli.library.references import newest_checkpoint

RECIPE = {
    "task": "generator",
    "data": {"source": "demo:64", "num_workers": 0, "augment": "none"},
    "generator": {"name": "gpt", "classes": 10, "layers": 2, "heads": 2, "width": 16, "ffn_multiple": 8},
    "optimizer": {"name": "adamw", "lr": 1e-2, "weight_decay": 0.05},
    "schedule": {"hold": 0.05},
    "training": {
        "steps": 8,
        "batch_size": 16,
        "log_every": 2,
        "sample_every": 100,
        "validate_every": 3,
        "validation_images": 8,
        "checkpoint_every": 4,
    },
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tokenizer")


@pytest.fixture(scope="module")
def tokens(tokenizer, tmp_path_factory) -> Path:
    return encoded(tokenizer, tmp_path_factory.mktemp("tokens") / "tokens.npy")


def encoded(tokenizer: Path, out: Path, **options) -> Path:
    asked = ImageOptions("demo:64", str(tokenizer), batch_size=16, device="cpu", num_workers=0, **options)
    encode(asked, out)
    return out


def start(run, tokenizer, *settings, progress=None, **options):
    torch.set_num_threads(1)
    path = run.parent / "gpt.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(RECIPE | {"tokenizer": str(tokenizer)}))
    asked = TrainOptions(str(path), run, settings=list(settings), device="cpu", **options)
    return train(asked, progress or Recorded())


def test_a_run_on_tokens_is_that_on_their_images(tokenizer, tokens, tmp_path):
    of_images = start(tmp_path / "images", tokenizer)
    of_tokens = start(tmp_path / "tokens", tokenizer, f"data.source={tokens}", "data.holdout=0")
    assert tensors(of_images.run).keys() == tensors(of_tokens.run).keys()
    weights = [load_file(r.model / "model.safetensors") for r in (of_images, of_tokens)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert of_tokens.measured == {}  # nothing is held out of these tokens; of drawn images, another split is
    assert metrics(of_tokens.run)[0]["cross_entropy"] == pytest.approx(math.log(16), rel=0.02)
    assert metrics(of_tokens.run)[-2]["cross_entropy"] < 2.7
    measured = of_images.measured
    assert measured["images"] == 8
    assert measured["perplexity"] == pytest.approx(math.exp(measured["cross_entropy"]))


def test_the_exported_folder_is_whole(tokenizer, tokens, tmp_path):
    result = start(tmp_path / "run", tokenizer, f"data.source={tokens}")
    copied = read_tokenizer_outline(result.model / "tokenizer")
    assert copied.spec == read_tokenizer_outline(tokenizer).spec
    assert read_classes(result.model) == list(CLASSES)
    generator = load_generator(result.model)
    assert generator.spec == load_tokenizer(tokenizer).spec
    labels = torch.arange(4)
    drawn = generator.sample(labels, [image_stream(0, i, 0) for i in range(4)], generator.config.sampling)
    assert drawn.ids.shape == (4, 16)
    assert "held-out images" in (result.model / "README.md").read_text()
    assert list((result.run / "samples").glob("*.png"))


def test_a_stopped_run_continues_to_the_same_bits(tokenizer, tokens, tmp_path):
    """Dropout and hidden classes too: they draw from the saved state."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    start(whole, tokenizer, f"data.source={tokens}")
    with pytest.raises(Interrupted):
        start(stopped, tokenizer, f"data.source={tokens}", progress=Recorded(stop_at=5))
    resume(stopped)
    assert_same(whole, stopped)


def test_a_run_sees_every_view(tokenizer, tokens, tmp_path):
    """With the mirrored views beside them, the same images in the same order train another network."""
    flipped = encoded(tokenizer, tmp_path / "flipped.npy", augment="flip")
    runs = [
        start(tmp_path / name, tokenizer, f"data.source={source}", "data.holdout=0")
        for name, source in (("plain", tokens), ("flipped", flipped))
    ]
    plain, mirrored = (load_file(r.model / "model.safetensors")["head.weight"] for r in runs)
    assert not torch.equal(plain, mirrored)
    assert len(np.load(flipped)) == 2 * len(np.load(tokens))


def test_a_generator_starts_from_another(tokenizer, tokens, tmp_path):
    first = start(tmp_path / "first", tokenizer, f"data.source={tokens}")
    recorded = Recorded()
    still = (f"data.source={tokens}", "optimizer.lr=1e-9")
    newest = newest_checkpoint(first.run)
    for i, (named, found) in enumerate([(first.model, first.model), (first.run, newest), (newest, newest)]):
        second = start(tmp_path / f"{i}", tokenizer, *still, f"init={named}", progress=recorded)
        assert [text for text in recorded.said if text.startswith("starting")][-1] == f"starting from {found}"
        ours, theirs = (load_file(r.model / "model.safetensors") for r in (first, second))
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)
    with pytest.raises(VqcliError, match="does not fit the recipe: class_embedding"):
        start(tmp_path / "third", tokenizer, f"init={first.model}", "generator.width=24")
    with pytest.raises(VqcliError, match="holds a tokenizer, not a generator"):
        start(tmp_path / "fourth", tokenizer, f"init={tokenizer}")


def refused(match, tokenizer, tmp_path, *settings):
    with pytest.raises(VqcliError, match=match) as raised:
        start(tmp_path / "run", tokenizer, *settings)
    assert raised.value.hint
    assert not (tmp_path / "run").exists()


def test_tokens_of_another_tokenizer_are_refused(tokens, tmp_path):
    other = make_model(tmp_path / "other", seed=1)
    refused("are not of the tokenizer .*other: fingerprint", other, tmp_path, f"data.source={tokens}")


def test_classes_that_are_missing_or_too_many_are_refused(tokenizer, tokens, tmp_path):
    refused("have a class 7", tokenizer, tmp_path, f"data.source={tokens}", "generator.classes=7")
    refused("have a class 7", tokenizer, tmp_path, "generator.classes=7")
    side = tokens.with_suffix(".json")
    told = json.loads(side.read_text())
    told["labels"][3] = None
    other = tmp_path / "tokens.npy"
    other.write_bytes(tokens.read_bytes())
    put(other.with_suffix(".json"), told)
    refused("demo/train/000003 has no label", tokenizer, tmp_path, f"data.source={other}")


def test_held_out_images_need_classes_too(tokenizer, tmp_path):
    for name in ("train/a", "train/b", "validation"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(16):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "data" / name / f"{i}.png")
    refused("has no label", tokenizer, tmp_path, f"data.source={tmp_path / 'data'}", "generator.classes=2")
    tars = tmp_path / "tars"
    tars.mkdir()
    write_tar(tars / "train-0.tar", [i % 10 for i in range(16)])
    write_tar(tars / "validation-0.tar", [12] * 4)
    refused("have a class 12 .*the recipe 10 classes", tokenizer, tmp_path, f"data.source={tars}")


def write_tar(path, labels):
    with tarfile.open(path, "w") as tar:
        for i, label in enumerate(labels):
            held = io.BytesIO()
            Image.new("RGB", (8, 8), (i, 0, 0)).save(held, format="PNG")
            for name, data in ((f"{i:06d}.png", held.getvalue()), (f"{i:06d}.cls", str(label).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def test_a_run_notices_other_tokens_and_another_tokenizer(tokenizer, tokens, tmp_path):
    own = make_model(tmp_path / "own")
    with pytest.raises(Interrupted):
        start(tmp_path / "images", own, progress=Recorded(stop_at=5))
    shutil.rmtree(own)
    make_model(own, seed=1)
    with pytest.raises(VqcliError, match="the training images changed since the checkpoint: tokenizer"):
        resume(tmp_path / "images")
    mine = encoded(tokenizer, tmp_path / "mine.npy")
    with pytest.raises(Interrupted):
        start(tmp_path / "tokens", tokenizer, f"data.source={mine}", progress=Recorded(stop_at=5))
    encoded(tokenizer, tmp_path / "other.npy", augment="flip")
    for suffix in (".npy", ".json"):
        (tmp_path / f"other{suffix}").replace(mine.with_suffix(suffix))
    with pytest.raises(VqcliError, match="the training images changed since the checkpoint: tokens"):
        resume(tmp_path / "tokens")


def test_a_tokenizer_that_is_still_trained_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        tiny.start(tmp_path / "tokenizer", progress=Recorded(stop_at=5))
    refused("is a training checkpoint", tmp_path / "tokenizer", tmp_path, "data.size=8")


def test_a_run_that_is_not_finished_can_be_sampled(tokenizer, tokens, tmp_path):
    """Its checkpoint names the classes, its recipe the tokenizer."""
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, tokenizer, f"data.source={tokens}", progress=Recorded(stop_at=5))
    made = generate(GenerateOptions(["disc"], str(run), count=2, device="cpu"), tmp_path / "images")
    assert made.model.name == "step-00000005"
    assert sorted(path.name for path in (tmp_path / "images").glob("*.png")) == [
        f"0-disc-s0-0000{i}.png" for i in range(2)
    ]


def test_tokens_have_no_split_and_size_of_their_own(tokenizer, tokens, tmp_path):
    for name, value in (("split", "test"), ("size", 16)):
        said = f"data.{name}: .* are tokens, whose {name} was settled"
        refused(said, tokenizer, tmp_path, f"data.source={tokens}", f"data.{name}={value}")


def test_a_tokenizer_that_is_not_there_is_told_before_there_is_a_run(tmp_path):
    refused("there is no model at nowhere", "nowhere", tmp_path)
    refused("there is no model runs/demo yet", "runs/demo", tmp_path)


def test_the_second_generator_trains_too(tokenizer, tokens, tmp_path):
    network = json.dumps({"name": "gpt_lc", "classes": 10, "layers": 2, "heads": 2, "width": 16})
    result = start(tmp_path / "run", tokenizer, f"data.source={tokens}", f"generator={network}")
    assert load_generator(result.model).config.name == "gpt_lc"
    assert 0 < result.measured["cross_entropy"] < math.log(26)
