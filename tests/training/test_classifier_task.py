"""A classifier's run: on tokens or on images, stopped and resumed, exported with its tokenizer."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.models import make_model
from tests.processes import VQCLI, two_processes
from tests.training.test_generator_task import encoded
from tests.training.tiny import Recorded, assert_same, metrics, resume, tensors
from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.classifier import load_classifier
from vqcli.checkpoint.tokenizer import read_tokenizer_outline
from vqcli.data.images.demo import CLASSES
from vqcli.errors import Interrupted, VqcliError
from vqcli.jobs.check import check_recipe
from vqcli.jobs.runs import list_runs
from vqcli.jobs.train import TrainOptions, train

RECIPE = {
    "task": "classifier",
    "data": {"source": "demo:64", "num_workers": 0, "augment": "none"},
    "classifier": {"name": "vit", "classes": 10, "layers": 2, "heads": 2, "width": 16, "dropout": 0.1},
    "optimizer": {"name": "adamw", "lr": 1e-2, "weight_decay": 0.05, "layer_decay": 0.8},
    "training": {
        "steps": 8,
        "batch_size": 16,
        "log_every": 2,
        "sample_every": 4,
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


def write(folder, tokenizer):
    path = folder / "vit.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(RECIPE | {"tokenizer": str(tokenizer)}))
    return path


def start(run, tokenizer, *settings, progress=None):
    torch.set_num_threads(1)
    path = str(write(run.parent, tokenizer))
    return train(TrainOptions(path, run, settings=list(settings), device="cpu"), progress or Recorded())


def test_a_run_on_tokens_is_that_on_their_images(tokenizer, tokens, tmp_path):
    of_images = start(tmp_path / "images", tokenizer)
    of_tokens = start(tmp_path / "tokens", tokenizer, f"data.source={tokens}", "data.holdout=0")
    assert tensors(of_images.run).keys() == tensors(of_tokens.run).keys()
    weights = [load_file(r.model / "model.safetensors") for r in (of_images, of_tokens)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert of_tokens.measured == {}  # nothing is held out of these tokens; of drawn images, another split is
    assert metrics(of_tokens.run)[0]["cross_entropy"] == pytest.approx(math.log(10), rel=0.1)
    measured = of_images.measured
    assert measured["images"] == 8
    assert 0 <= measured["top1"] <= measured["top5"] <= 1
    assert measured["cross_entropy"] > 0
    assert of_images.summary[0].startswith(f"top-1 {measured['top1']:.2%}, top-5")
    assert of_images.next == f"vqcli classify {of_images.run} IMAGES"
    assert [row.trains for row in list_runs(of_images.run)] == ["vit"]


def test_the_exported_folder_is_whole(tokenizer, tokens, tmp_path):
    result = start(tmp_path / "run", tokenizer, f"data.source={tokens}")
    assert read_tokenizer_outline(result.model / "tokenizer").spec == read_tokenizer_outline(tokenizer).spec
    assert read_classes(result.model) == list(CLASSES)
    assert load_classifier(result.model).spec == read_tokenizer_outline(tokenizer).spec
    card = (result.model / "README.md").read_text()
    assert "Top-1 " in card
    assert "held-out images" in card
    assert "vqcli classify THIS_FOLDER IMAGES" in card


def test_a_stopped_run_continues_to_the_same_bits(tokenizer, tokens, tmp_path):
    """Dropout, drop path and mixup too: they draw from the saved state."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    start(whole, tokenizer, f"data.source={tokens}")
    with pytest.raises(Interrupted):
        start(stopped, tokenizer, f"data.source={tokens}", progress=Recorded(stop_at=5))
    resume(stopped)
    assert_same(whole, stopped)


def test_a_run_sees_every_view(tokenizer, tokens, tmp_path):
    flipped = encoded(tokenizer, tmp_path / "flipped.npy", augment="flip")
    runs = [
        start(tmp_path / name, tokenizer, f"data.source={source}", "data.holdout=0")
        for name, source in (("plain", tokens), ("flipped", flipped))
    ]
    plain, mirrored = (load_file(r.model / "model.safetensors")["head.weight"] for r in runs)
    assert not torch.equal(plain, mirrored)


@pytest.mark.parametrize(
    "settings",
    [
        ["training.precision=bf16"],
        ["training.average=0.9"],
        ["training.accumulate=2"],
        ["classifier.embedding=learned", "classifier.pool=token"],
    ],
)
def test_it_trains_as_every_task_does(tokenizer, tokens, tmp_path, settings):
    result = start(tmp_path / "run", tokenizer, f"data.source={tokens}", *settings)
    state = load_file(result.model / "model.safetensors")
    assert all(x.dtype == torch.float32 and x.isfinite().all() for x in state.values())


@pytest.mark.parametrize(
    "quantizer", [{"name": "residual", "depth": 2}, {"name": "multiscale", "scales": [1, 2, 4], "phis": 2}]
)
@pytest.mark.parametrize("embedding", ["codes", "learned"])
def test_tokens_of_several_depths_and_scales_are_learned(tmp_path, quantizer, embedding):
    tokenizer = make_model(tmp_path / "vq", quantizer=quantizer)
    result = start(tmp_path / "run", tokenizer, f"classifier.embedding={embedding}", "training.steps=2")
    assert len(load_classifier(result.model).grid) == len(quantizer.get("scales", (1, 1)))


def test_a_classifier_starts_from_another(tokenizer, tokens, tmp_path):
    first = start(tmp_path / "first", tokenizer, f"data.source={tokens}")
    still = (f"data.source={tokens}", "optimizer.lr=1e-9", f"init={first.model}")
    second = start(tmp_path / "second", tokenizer, *still)
    ours, theirs = (load_file(r.model / "model.safetensors") for r in (first, second))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)
    with pytest.raises(VqcliError, match="does not fit the recipe"):
        start(tmp_path / "third", tokenizer, f"init={first.model}", "classifier.width=24")
    with pytest.raises(VqcliError, match="holds a tokenizer, not a classifier"):
        start(tmp_path / "fourth", tokenizer, f"init={tokenizer}")


def refused(match, tokenizer, tmp_path, *settings):
    with pytest.raises(VqcliError, match=match) as raised:
        start(tmp_path / "run", tokenizer, *settings)
    assert raised.value.hint
    assert not (tmp_path / "run").exists()
    return raised.value.hint


def test_what_cannot_be_learned_is_refused(tokenizer, tokens, tmp_path):
    hint = refused("have a class 7", tokenizer, tmp_path, "classifier.classes=7")
    assert hint == "--set classifier.classes=10"
    other = make_model(tmp_path / "other", seed=1)
    refused("are not of the tokenizer .*other: fingerprint", other, tmp_path, f"data.source={tokens}")
    refused("does not spread a classifier", tokenizer, tmp_path, "training.shard=true")


def test_a_recipe_can_be_looked_at(tokenizer, tmp_path):
    info = check_recipe(str(write(tmp_path, tokenizer)), [])
    assert info.parameters["total"] == sum(n for part, n in info.parameters.items() if part != "total") > 0
    assert info.memory["activations"] > 0
    assert info.missing == []


def test_two_processes_train_together(tokenizer, tokens, tmp_path):
    """Equal weights on both, and shares of held-out images that add up."""
    run = tmp_path / "run"
    given = ("train", write(tmp_path, tokenizer), "-o", run, "--device", "cpu", "-q")
    two_processes(VQCLI, *given, "--set", "training.steps=2", "--set", "training.validate_every=2")
    (measured,) = [line for line in metrics(run) if "validation/top1" in line]
    assert measured["validation/images"] == 8
    assert load_classifier(run / "model").config.classes == 10
