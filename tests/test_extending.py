"""The parts of docs/extending.md, each a file outside the package, through the whole job by commands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.cli.said import refused
from tests.plugins import vqcli
from tests.tiny_inception import TinyInception
from tests.training.tiny import RECIPE
from vqcli.jobs.evaluation import measuring

FOLDER = Path(__file__).parent / "extending"
TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
PARTS = {
    "dithered": "quantizer dithered",
    "scaled": "codebook scaled",
    "charbonnier": "loss charbonnier",
    "absolute": "metric mae",
    "solid": "source solid",
    "straight": "generator straight",
}
"""Files, and the part that each brings."""
NAMED = {name: [PARTS[name]] for name in ("charbonnier", "dithered", "scaled", "solid")}
"""What the tokenizer's recipe has of them."""
PLUGINS = [word for name in PARTS for word in ("--plugin", FOLDER / f"{name}.py")]
CPU = ("--device", "cpu")
SHORT = ("training.steps=2", "training.batch_size=4", "training.validation_images=8", "data.num_workers=1")
IMAGES, DEMO = "solid:6", "demo:6"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recipe that names parts from outside, and a run that was trained, then resumed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("extending")
    codebook = {"name": "scaled", "size": 16, "width": 8}
    tokenizer = RECIPE["tokenizer"] | {"codebook": codebook, "quantizer": {"name": "dithered", "noise": 0.05}}
    data = RECIPE["data"] | {"source": "solid:64", "num_workers": 1}
    recipe = RECIPE | {"tokenizer": tokenizer, "losses": {"charbonnier": 1.0}, "data": data}
    (folder / "my.yaml").write_text(yaml.safe_dump(recipe))
    train = ("train", "-o", folder / "run", *CPU, *PLUGINS)
    start = vqcli(*train, folder / "my.yaml", "--set", "training.steps=2")
    assert start.exit_code == 0, start.output
    resumed = vqcli(*train, "--resume", "--set", "training.steps=4")
    assert resumed.exit_code == 0, resumed.output
    assert "at step 2 of 4" in resumed.stderr
    assert f"vqcli encode {' '.join(map(str, PLUGINS))} IMAGES" in resumed.stdout  # what is typed next works
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """What evaluations keep stays apart from what others keep."""
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))


def told(*arguments):
    done = vqcli(*arguments, "--json")
    assert done.exit_code in (0, 3), done.output
    return json.loads(done.stdout)


def test_the_files_are_those_of_the_docs():
    shown = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", TEXT, re.DOTALL))
    assert shown == {name: (FOLDER / f"{name}.py").read_text() for name in PARTS}
    assert {path.stem for path in FOLDER.glob("*.py")} == set(PARTS)


def test_the_commands_of_the_docs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dithered.py").write_text((FOLDER / "dithered.py").read_text())
    block = TEXT.split("```")[1].strip()
    listed, trained, measured = (line.removeprefix("vqcli ").split() for line in block.splitlines())
    assert "dithered" in vqcli(*listed).stdout
    short = [word for setting in SHORT for word in ("--set", setting)]
    assert vqcli(*trained, *short, *CPU).exit_code == 0
    assert vqcli(*measured, "--limit", "8", *CPU).exit_code == 0
    assert (tmp_path / "runs" / "dithered" / "model" / "config.json").is_file()


def test_list_and_check_tell_them(folder):
    found = told("list", *PLUGINS)
    for name, part in PARTS.items():
        (entry,) = [each for entries in found.values() for each in entries if each.get("plugin") == name]
        assert part.endswith(entry["name"])
        assert entry["summary"]
    checked = told("check", folder / "my.yaml", *PLUGINS)
    assert checked["plugins"] == NAMED
    assert checked["missing"] == []


def test_a_run_and_its_model_tell_what_they_need(folder):
    run = folder / "run"
    assert yaml.safe_load((run / "recipe.yaml").read_text())["plugins"] == NAMED
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["plugins"] == {"dithered": ["quantizer dithered"]}  # the codebook is baked
    config = json.loads((run / "checkpoints" / "step-00000004" / "config.json").read_text())
    assert set(config["plugins"]) == {"dithered", "scaled"}
    assert "It needs `dithered` (quantizer dithered)" in (run / "model" / "README.md").read_text()


def test_without_them_what_needs_them_is_refused(folder):
    run, model = folder / "run", folder / "run" / "model"
    needs = f"{model} needs the plugin dithered (quantizer dithered)"
    for command in (
        ("encode", DEMO, "-o", folder / "no.npy", "-m", model),
        ("usage-report", model, "--images", DEMO),
        ("evaluate", model, "--images", DEMO, "--metrics", "psnr"),
    ):
        refused(vqcli(*command, *CPU), needs, "trust it")
    refused(vqcli("encode", IMAGES, "-m", model, *PLUGINS[:2]), "solid:6 does not exist", "demo[:N]")
    refused(vqcli("train", "--resume", run), "recipe.yaml needs the plugin charbonnier", "charbonnier")
    unknown = vqcli("evaluate", model, *PLUGINS[:2], "--images", DEMO, "--metrics", "mae", *CPU)
    refused(unknown, "there is no metric 'mae'", "known")
    assert told("info", model)["plugins"] == {"dithered": ["quantizer dithered"]}
    assert re.search(r"^plugin dithered +quantizer dithered$", vqcli("info", model).stdout, re.MULTILINE)


def test_the_model_encodes_and_is_measured(folder):
    using, tokens = (*CPU, *PLUGINS), folder / "tokens.npy"
    told("encode", IMAGES, "-o", tokens, "-m", folder / "run", *using)
    assert np.load(tokens).shape == (6, 2, 2)
    told("decode", tokens, "-o", folder / "decoded", "-m", folder / "run", *using)
    assert len(list((folder / "decoded").glob("**/*.png"))) == 6
    usage = told("usage-report", folder / "run", "--images", IMAGES, *using)["usage"]
    assert (usage["codebook_size"], usage["tokens"]) == (16, 24)
    measured = vqcli("evaluate", folder / "run", "--images", IMAGES, "--metrics", "mae,psnr", *using)
    assert measured.exit_code == 0, measured.output
    found = dict(line.split()[:2] for line in measured.stdout.splitlines() if line.startswith("MAE"))
    assert 0 < float(found["MAE"]) < 1


def test_a_generator_of_its_latents(folder, monkeypatch):
    run, recipe = folder / "flow", folder / "flow.yaml"
    sections = {
        "task": "generator",
        "data": {"source": "demo:64", "num_workers": 0},
        "tokenizer": str(folder / "run"),
        "generator": {"name": "straight", "channels": 8},
        "training": RECIPE["training"] | {"steps": 2, "sample_every": 2},
    }
    recipe.write_text(yaml.safe_dump(sections))
    assert told("check", recipe, *PLUGINS)["plugins"] == {"straight": ["generator straight"]}
    assert told("train", recipe, "-o", run, *CPU, *PLUGINS)["steps"] == 2
    more = ("train", "--resume", run, "--set", "training.steps=4", *CPU)
    refused(vqcli(*more), "recipe.yaml needs the plugin straight", "--plugin straight")
    assert told(*more, *PLUGINS)["steps"] == 4
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["plugins"] == {"straight": ["generator straight"]}
    assert "It needs `straight` (generator straight)" in (run / "model" / "README.md").read_text()
    make = ("generate", "--prompt-class", "0-2", "-n", "2", "-m", run, "-o", folder / "made", *CPU)
    refused(vqcli(*make, *PLUGINS[:2]), "needs the plugin straight (generator straight)", "trust it")
    assert told(*make, *PLUGINS)["images"] == 6
    assert told("info", run / "model")["plugins"] == {"straight": ["generator straight"]}
    told_by = vqcli("info", run / "model").stdout
    assert re.search(r"^images .* 2x2 latents$", told_by, re.MULTILINE), told_by
    monkeypatch.setattr(measuring, "FidInception", TinyInception)
    samples = ("evaluate", run, "--images", IMAGES, "--samples", "4", "--metrics", "fid", "--random-networks")
    assert told(*samples, *CPU, *PLUGINS)["kind"] == "generator"
