"""``vqcli train`` as typed: flags, results and exit codes. Signals: tests/training/test_resume.py."""

import json

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from tests.training.tiny import write_recipe
from vqcli.cli.app import app
from vqcli.config import read_yaml


def vqcli(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments), "--device", "cpu"])


def settings(*pairs):
    return [x for pair in pairs for x in ("--set", pair)]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(10):
        Image.new("RGB", (8, 8), (20 * i, 90, 255 - 20 * i)).save(folder / f"{i}.png")
    return folder


SMALL = settings("training.steps=2", "training.batch_size=4", "data.holdout=0.1")


def test_result_for_people_scripts_and_json(tmp_path):
    recipe = write_recipe(tmp_path)
    done = vqcli(recipe, "-o", tmp_path / "a", *SMALL)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{tmp_path}/a/model  2 steps in")
    assert "utilization" in done.stdout
    assert f"Next: vqcli encode IMAGES -o tokens.npy -m {tmp_path}/a" in done.stdout
    assert "train: 2/2 steps" in done.stderr
    assert vqcli(recipe, "-o", tmp_path / "b", "-q", *SMALL).stdout == f"{tmp_path}/b/model\n"
    value = json.loads(vqcli(recipe, "-o", tmp_path / "c", "--json", *SMALL).stdout)
    assert (value["steps"], value["rejected"]) == (2, 0)
    assert 0 < value["measured"]["utilization"] <= 1


def test_rejected_images_exit_3(tmp_path, images):
    (images / "bad.png").write_bytes(b"no image")
    done = vqcli(write_recipe(tmp_path), "-o", tmp_path / "run", "--data", images, *SMALL,
                 *settings("training.steps=6", "data.holdout=0"))  # fmt: skip
    assert done.exit_code == 3, done.output
    assert "1 images were rejected" in done.stdout
    assert "rejected bad.png: not-an-image" in done.stderr


def test_flags_stand_for_keys_of_the_recipe(tmp_path, images):
    flags = ("--data", images, "--seed", "7", "--precision", "bf16", "--num-workers", "1")
    done = vqcli(write_recipe(tmp_path), "-o", tmp_path / "run", *flags, *SMALL)
    assert done.exit_code == 0, done.output
    stored = read_yaml(tmp_path / "run" / "recipe.yaml")
    assert (stored["seed"], stored["training"]["precision"]) == (7, "bf16")
    assert (stored["data"]["source"], stored["data"]["num_workers"]) == (str(images), 1)


@pytest.mark.parametrize("name", ["*.png", "[a]: b #c", "123", "~", "ünï cödé 🙂", "a, {b}"])
def test_data_is_a_path_whatever_yaml_thinks(tmp_path, images, monkeypatch, name):
    monkeypatch.chdir(images)
    if "*" not in name:
        images.rename(tmp_path / name)
        monkeypatch.chdir(tmp_path)
    done = vqcli(write_recipe(tmp_path / "r"), "-o", tmp_path / "run", "--data", name, *SMALL)
    assert done.exit_code == 0, done.output
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["data"]["source"] == name


def test_errors_are_a_sentence_and_a_hint(tmp_path):
    recipe = write_recipe(tmp_path)
    wrong = vqcli(recipe, "-o", tmp_path / "run", *settings("optimizer.lrr=1"), "--data", "/nowhere")
    assert wrong.exit_code == 1
    assert wrong.stderr == f"error: {recipe}: unknown key 'optimizer.lrr'\nhint: did you mean 'lr'?\n"
    diverged = vqcli(
        recipe, "-o", tmp_path / "run", *SMALL, *settings("training.steps=60", "optimizer.lr=1e30"), "--json"
    )
    assert diverged.exit_code == 1
    assert json.loads(diverged.stdout)["reason"] == "diverged"
    unknown = vqcli("dmeo", "-o", tmp_path / "other")
    assert unknown.stderr == "error: no recipe is called 'dmeo'\nhint: did you mean 'demo'?\n"


def test_resume_names_the_run_in_two_ways(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert vqcli(write_recipe(tmp_path), "-o", "runs/x", *SMALL).exit_code == 0
    assert (
        "runs/x is a run, not a recipe\nhint: continue it: vqcli train --resume runs/x"
        in vqcli("runs/x").stderr
    )
    for again in (["x"], ["-o", "runs/x"], ["runs/x"]):
        done = vqcli("--resume", *again, "-q")
        assert (done.exit_code, done.stdout) == (0, "runs/x/model\n"), done.output
    refused = vqcli("--resume", "x", "--seed", "3", "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["reason"]) == (1, "changed")
    nothing = vqcli("--resume")
    assert nothing.exit_code == 1
    assert "there is no unfinished run under runs/" in nothing.stderr
