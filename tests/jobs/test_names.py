"""One grammar for all commands: a source from outside, names on stdin, tokens in the wrong place."""

import json
import sys

import pytest
import yaml

from tests.data.toys import SOURCES
from tests.jobs.encoded import options
from tests.jobs.evaluations import CHEAP
from tests.jobs.evaluations import options as to_evaluate
from tests.jobs.features import build
from tests.models import make_model
from tests.streams import piped
from tests.training import test_generator_task as generators
from tests.training.tiny import start
from vqcli.data.images.open import open_source
from vqcli.errors import VqcliError
from vqcli.jobs.check import check_recipe
from vqcli.jobs.encode import encode
from vqcli.jobs.evaluation.evaluate import evaluate
from vqcli.jobs.prune import PruneOptions, prune
from vqcli.jobs.usage import measure_usage
from vqcli.parts import PARTS
from vqcli.types import Reading

SOLID = "solid:12"


@pytest.fixture
def solid(monkeypatch):
    monkeypatch.setitem(PARTS["sources"], "solid", SOURCES["solid"])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", side=16)


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Eleven files whose names come on stdin."""
    source = open_source("demo:11", Reading(size=(16, 16)))
    names = [str(tmp_path / f"{i:02d}.png") for i in range(11)]
    for i, name in enumerate(names):
        source[i].image.save(name)
    monkeypatch.setattr(sys, "stdin", piped("\n".join(names)))
    return names


@pytest.mark.usefixtures("solid", "small_evaluations")
def test_a_source_from_outside_is_known_to_every_command(tmp_path, model):
    """One class and one line of the registry; num_workers too, which carry the class to other processes."""
    asked = options(SOLID, model, num_workers=1)
    assert encode(asked, tmp_path / "t.npy").encoded == 12
    assert json.loads((tmp_path / "t.json").read_text())["keys"][3] == "solid/0003"
    assert measure_usage(str(model), asked).usage.images == 12
    assert measure_usage(str(tmp_path / "t.npy"), codebook_size=16).usage.images == 12
    assert prune(str(model), tmp_path / "pruned", PruneOptions(asked)).counted_on[0].startswith("12 images")
    assert evaluate(to_evaluate(model, SOLID, CHEAP)).counts == {"reconstruct": 12}
    found = evaluate(to_evaluate(SOLID, "solid:9", ("fid",)))
    assert (found.kind, found.counts) == ("images", {"sample": 12, "reference": 9})
    assert build(SOLID, tmp_path / "codes.safetensors", size=3).codes == 3


@pytest.mark.usefixtures("solid")
def test_a_source_from_outside_is_trained_on(tmp_path):
    result = start(tmp_path / "run", f"data.source={SOLID}", "training.steps=2", "training.batch_size=4")
    assert yaml.safe_load((result.run / "recipe.yaml").read_text())["data"]["source"] == SOLID
    assert (
        check_recipe(str(result.run / "recipe.yaml"), []).images == 9
    )  # a quarter is held out, as there are few
    settings = (f"data.source={SOLID}", "training.steps=2", "training.batch_size=4")
    generator = generators.start(tmp_path / "gpt", result.model, *settings)
    assert (generator.model / "classes.json").is_file()


@pytest.mark.usefixtures("small_evaluations")
@pytest.mark.parametrize("side", ["target", "images of a tokenizer", "reference"])
def test_names_on_stdin_are_evaluated(listed, model, side):
    sides = {"target": ("-", "demo:5"), "images of a tokenizer": (model, "-"), "reference": ("demo:5", "-")}
    metrics = ("psnr",) if side == "images of a tokenizer" else ("fid",)
    found = evaluate(to_evaluate(*sides[side], metrics))
    assert 11 in found.counts.values()


def test_tokens_are_no_target_of_an_evaluation(tmp_path, model):
    encode(options("demo:3", model), tmp_path / "t")
    for tokens in (tmp_path / "t", tmp_path / "absent.npy"):
        with pytest.raises(VqcliError, match="names tokens, not images or a model") as refused:
            evaluate(to_evaluate(tokens, None, ("fid",)))
        assert "vqcli decode" in refused.value.hint


def test_latents_are_no_tokens(tmp_path):
    (tmp_path / "plan.json").write_text('{"format": 1, "latents": {}}')
    with pytest.raises(VqcliError, match="holds latents, not tokens"):
        measure_usage(str(tmp_path))
    with pytest.raises(VqcliError, match="names latents, not images or a model"):
        evaluate(to_evaluate(tmp_path, None, ("fid",)))


def test_nothing_is_there(tmp_path, model):
    for ask in (
        lambda text: evaluate(to_evaluate(text, None, ("fid",))),
        lambda text: measure_usage(text),
        lambda text: encode(options(text, model), tmp_path / "t.npy"),
        lambda text: build(text, tmp_path / "codes.safetensors", size=3),
    ):
        with pytest.raises(VqcliError, match=r"there is no model at|does not exist") as refused:
            ask(str(tmp_path / "away"))
        assert refused.value.reason == "input-missing"
        assert refused.value.hint
