"""``vqcli build-codebook`` as a user meets it."""

import json
import shlex
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.cli.said import refused
from tests.jobs.encoded import pictures
from vqcli.cli.app import app


def vqcli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")


def build(*arguments):
    return vqcli("build-codebook", *arguments, "--num-workers", 0, "--device", "cpu")


def test_what_is_told(tmp_path):
    out = tmp_path / "my features.safetensors"
    done = build("demo:20", "-o", out, "-k", 32, "--iterations", 3)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        f"{out}  32 codes of width 48",
        "features   pixels of 4x4 patches",
        "vectors    1,280 of 20 images",
    ]
    assert lines[3].startswith("objective  ")
    assert lines[3].endswith(", the mean squared distance to the nearest code, after 3 iterations")
    assert lines[5].startswith("Train on it: vqcli train vqgan-lc-cifar10 --set ")
    assert "features: 1,280 vectors of 48, 0 MB in " in done.stderr
    assert "k-means++ start over 1,280 of 1,280 vectors" in done.stderr
    assert "features: 20/20 images" in done.stderr
    assert load_file(out)["codes"].shape == (32, 48)


def test_what_it_says_to_train_does_train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = build("demo:20", "-k", 32, "--patch", 2, "--size", 8)
    assert done.exit_code == 0
    command = shlex.split(done.stdout.splitlines()[5].partition(": ")[2])
    assert command[:3] == ["vqcli", "train", "vqgan-lc-cifar10"]
    settings = [
        "training.steps=1",
        "training.batch_size=4",
        "training.validation_images=4",
        "data.num_workers=0",
    ]
    cut = [word for setting in settings for word in ("--set", setting)]
    trained = vqcli(*command[1:], "--data", "demo:20", "--device", "cpu", "--out", "run", *cut)
    assert trained.exit_code == 0, trained.stderr
    recipe = Path("run/recipe.yaml").read_text()
    assert "base: features.safetensors" in recipe
    assert "base_width: 12" in recipe


def test_json_quiet_and_classes(tmp_path):
    done = build("demo:40", "-o", tmp_path / "a.safetensors", "-k", 20, "--per-class", "--json", "--pool", 2)
    value = json.loads(done.stdout)
    assert (value["codes"], value["classes"], value["vectors"], value["pooling"]) == (20, 10, 640, 2)
    assert value["seconds"] > 0
    assert value["objective"] > 0
    quiet = build("demo:40", "-o", tmp_path / "b.safetensors", "-k", 20, "--per-class", "--pool", 2, "-q")
    assert (quiet.stdout, quiet.stderr) == (f"{tmp_path / 'b.safetensors'}\n", "")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    told = build("demo:40", "-o", tmp_path / "c.safetensors", "-k", 20, "--per-class", "--pool", 2).stdout
    assert told.splitlines()[0].endswith("20 codes of width 48, 2 for each of 10 classes")
    assert told.splitlines()[1] == "features   pixels of 4x4 patches, 2x2 of them averaged"
    codes = {name: load_file(tmp_path / f"{name}.safetensors")["codes"] for name in "ab"}
    assert torch.equal(codes["a"], codes["b"])


def test_rejected_images(tmp_path):
    folder = pictures(tmp_path / "in", ["a.png", "b.png", "c.png"])
    (folder / "b.png").write_bytes(b"")
    done = build(folder, "-o", tmp_path / "f.safetensors", "-k", 4, "--size", 8)
    assert done.exit_code == 3
    assert done.stdout.splitlines()[-2:] == ["rejected (1):", "  b.png: empty-file"]
    assert "1 input was rejected" in done.stderr


def test_what_cannot_be(tmp_path, monkeypatch):
    out = ("-o", tmp_path / "f.safetensors")
    monkeypatch.setitem(sys.modules, "transformers", None)
    for name in ("vision", "facebook/dinov2-base"):
        done = build("demo:4", *out, "--features", name)
        assert refused(done, "need transformers", "pip install 'vqcli[features]'")
    assert refused(build("demo:4", *out), "too few vectors in demo:4", "--codebook-size")
    assert refused(build(tmp_path / "away", *out), "away does not exist", "give a folder")
    assert refused(build("demo:4", *out, "--pool", 3), "squares of 3x3", "--pool")
    assert refused(build("demo:40", *out, "-k", 41, "--per-class"), "divisible by 10 classes", "40")
    assert build("demo:4", *out, "--features", "vision", "--patch", 2).exit_code == 2
    assert build("demo:4", *out, "--size", "native").exit_code == 2


@pytest.mark.parametrize("kind", ["pixels", "vision"])
def test_kinds_are_listed(kind):
    assert kind in vqcli("list", "features").stdout
