"""Training with a perceptual loss: its weights, its noise, and what a resumed run must have again."""

import json

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.perceptual import drawn_weights
from tests.training.tiny import Recorded, assert_same, metrics, resume, start, write_recipe
from vqcli.cli.app import app
from vqcli.errors import Interrupted, VqcliError
from vqcli.training.recipe import read_recipe
from vqcli.yaml_text import read_yaml

SIZE = ("data.size=32", "training.steps=4", "training.log_every=1")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """AlexNet and heads, drawn."""
    path = tmp_path_factory.mktemp("weights") / "lpips-alex.safetensors"
    save_file(drawn_weights("alex"), path)
    return path


def alex(path, **options):
    form = {"net": "alex", "weights": str(path)} | options
    return f"losses={json.dumps({'l2': 1.0, 'perceptual': form})}"


def test_it_trains_measures_and_resumes(tmp_path, weights):
    start(tmp_path / "whole", alex(weights), *SIZE)
    lines = metrics(tmp_path / "whole")
    assert all(line["perceptual"] > 0 for line in lines if "l2" in line)
    assert 0 < lines[-1]["validation/lpips_alex"] < 10
    usage = json.loads((tmp_path / "whole" / "model" / "usage.json").read_text())
    assert usage["lpips_alex"] == lines[-1]["validation/lpips_alex"]
    assert usage["cautions"] == {"lpips_alex": "by other weights of lpips-alex than the published"}
    card = (tmp_path / "whole" / "model" / "README.md").read_text()
    assert f"(AlexNet) ({usage['cautions']['lpips_alex']})" in card
    with pytest.raises(Interrupted):
        start(tmp_path / "run", alex(weights), *SIZE, progress=Recorded(2))
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "whole")  # noise of dropout too


def test_other_weights_do_not_continue_a_run(tmp_path, weights):
    with pytest.raises(Interrupted):
        start(tmp_path / "run", alex(weights), *SIZE, progress=Recorded(2))
    others = load_file(weights)
    others["lin0.model.1.weight"] += 0.1
    save_file(others, tmp_path / "others.safetensors")
    with pytest.raises(VqcliError, match="what losses compare with changed since the checkpoint: lpips-alex"):
        resume(tmp_path / "run", lpips_weights=tmp_path / "others.safetensors")
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(weights.read_bytes())
    assert resume(tmp_path / "run", lpips_weights=moved).steps == 4  # the same, elsewhere


def test_the_flag_names_the_weights_of_one_run(tmp_path, weights):
    recipe = write_recipe(tmp_path)
    run = tmp_path / "run"
    settings = [x for s in (*SIZE, "losses.perceptual.net=alex") for x in ("--set", s)]
    command = ["train", str(recipe), "--out", str(run), "--device", "cpu", "--lpips-weights", str(weights)]
    done = CliRunner().invoke(app, [*command, *settings])
    assert done.exit_code == 0, done.output
    assert "perceptual" in metrics(run)[0]
    assert str(weights) in (run / "recipe.yaml").read_text()
    refused = CliRunner().invoke(app, [*command[:2], "--out", str(tmp_path / "other"), *command[4:]])
    assert refused.exit_code == 1
    assert "has no perceptual loss" in refused.stderr
    assert "--set losses.perceptual=1" in refused.stderr


def test_the_ways_that_hints_name_can_be_gone(tmp_path, weights):
    """A loss that was added, or weighed anew, keeps what else it is told."""
    added = ("losses.perceptual=1", "losses.perceptual.net=alex", "losses.perceptual=0.5")
    start(tmp_path / "run", *SIZE, *added, lpips_weights=weights)
    written = read_yaml(tmp_path / "run" / "recipe.yaml")["losses"]
    assert written["perceptual"]["weight"] == 0.5
    assert written["perceptual"]["net"] == "alex"
    assert read_recipe("vqgan-lc-100k", ["losses.perceptual=0.5"]).losses["perceptual"].eps == 1e-7


def test_what_is_measured_does_not_depend_on_the_losss_eps(tmp_path, weights):
    found = []
    for eps in (1e-10, 0.1):
        run = tmp_path / str(eps)
        start(run, alex(weights, eps=eps, weight=1e-9), *SIZE, "training.steps=1", "optimizer.lr=1e-12")
        found.append(metrics(run)[-1]["validation/lpips_alex"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_without_weights_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("VQCLI_WEIGHTS_DIR", raising=False)
    with pytest.raises(VqcliError, match=r"vgg16-397923af\.pth") as refusal:
        start(tmp_path / "run", "losses.perceptual=1", "data.size=32")
    for way_out in ("--lpips-weights", "$VQCLI_WEIGHTS_DIR", "losses.perceptual=0"):
        assert way_out in refusal.value.hint
    assert not (tmp_path / "run").exists()
    start(tmp_path / "run", "losses.perceptual=0", "training.steps=1")


def test_images_too_small_for_the_network(tmp_path, weights):
    with pytest.raises(VqcliError, match="8x8 pixels") as refusal:
        start(tmp_path / "run", alex(weights))
    assert refusal.value.hint
    assert not (tmp_path / "run").exists()
