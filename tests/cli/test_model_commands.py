"""``vqcli info`` and ``vqcli check`` as a user meets them."""

import json

import pytest
from typer.testing import CliRunner

from tests.models import make_generator, make_model
from tests.seals import put
from vqcli.cli.app import app


def vqcli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


def test_info(model, monkeypatch):
    done = vqcli("info", model)
    assert done.exit_code == 0
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert list(rows) == ["folder", "kind", "codes", "images", "weights", "fingerprint", "utilization"]
    assert rows["folder"] == str(model)
    assert rows["kind"] == "tokenizer, nearest quantizer, metric l2"
    assert rows["codes"] == "16 of width 4"
    assert rows["images"] == "8x8 pixels, a token for 2x2"
    assert rows["utilization"] == "never measured"
    assert vqcli("info", model, "-q").stdout == f"{model}\n"
    monkeypatch.setenv("VQCLI_MODEL", str(model))
    assert vqcli("info").stdout == done.stdout


def test_info_as_json(model):
    value = json.loads(vqcli("info", model, "--json").stdout)
    assert (value["kind"], value["codebook_size"], value["image_size"]) == ("tokenizer", 16, [8, 8])
    assert value["tokenizer"]["quantizer"]["name"] == "nearest"


def test_info_on_what_is_no_model(tmp_path, model):
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").touch()
    put(model / "config.json", {"kind": "generator"})
    for arguments, message, hint in [
        ([], "no model was given", "name a model"),
        ([tmp_path / "away"], "there is no model at", "a run"),
        ([tmp_path / "empty"], "holds no model, no tokens and no images", "give a model folder"),
        ([tmp_path / "run"], "is a run without a finished checkpoint", "--resume"),
        ([model], "has format None", "update vqcli"),
    ]:
        done = vqcli("info", *arguments)
        assert (done.exit_code, done.stdout) == (1, "")
        error, advice = done.stderr.splitlines()
        assert error.startswith("error: ")
        assert message in error
        assert hint in advice


def test_check(tmp_path):
    done = vqcli("check", "demo", "--set", "training.steps=7")
    assert done.exit_code == 0
    rows = dict(line.rsplit("  ", 1) for line in done.stdout.splitlines()[1:])
    rows = {name.strip(): value for name, value in rows.items()}
    assert rows["steps"].startswith("7 of ")
    assert int(rows["parameters: total"].replace(",", "")) > 0
    assert {"memory: weights", "memory: activations", "training images"} <= set(rows)
    assert vqcli("check", "demo", "-q").stdout == "ok\n"
    away = vqcli("check", "demo", "--data", tmp_path / "*.away")
    assert away.exit_code == 3
    assert f"{tmp_path}/*.away is not here" in away.stdout
    assert "would not train here: data.source: " in away.stderr
    few = vqcli("check", "demo", "--data", "demo:3")
    assert (few.exit_code, few.stderr) == (3, "warning: these images do not fill one batch\n")
    assert json.loads(vqcli("check", "demo", "--json").stdout)["recipe"] == "demo"


def test_check_names_what_is_wrong(tmp_path):
    recipe = tmp_path / "my.yaml"
    recipe.write_text("task: tokenizer\ntraining: {stepz: 3}\n")
    for arguments in (["demmo"], ["demo", "--set", "training.stepz=3"], [recipe], [tmp_path / "away.yaml"]):
        done = vqcli("check", *arguments)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")
        assert "hint: " in done.stderr
        assert "internal" not in done.stderr


def test_check_tells_what_is_missing(tmp_path):
    book = (
        f'{{"name": "projected", "size": 64, "width": 8, "base_width": 4, "base": "{tmp_path}/features.st"}}'
    )
    done = vqcli("check", "fvq-cifar10", "--set", f"tokenizer.codebook={book}")
    assert done.exit_code == 0
    assert f"would not train here: codebook.base: {tmp_path}/features.st does not exist" in done.stderr
    for name in ("a.tar", "b.parquet"):
        (tmp_path / name).write_bytes(b"")
    done = vqcli("check", "fvq-cifar10", "--data", str(tmp_path))
    assert done.exit_code == 3
    assert "would not train here: data.source: " in done.stderr
    assert "mixes" in done.stderr


def test_info_of_tokens_images_and_recipes(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = ("--device", "cpu", "--num-workers", 0, "-q")
    assert vqcli("encode", "demo:20", "-m", model, "-o", "t.npy", *quick).exit_code == 0
    for target, kind, line in [
        ("t.npy", "tokens", "images         20, 4x4 tokens of 16 codes"),
        (
            "demo:20",
            "images",
            "classes  10: disc (2), ring (2), square (2), triangle (2), star (2) and 5 more",
        ),
        ("demo", "recipe", "codes      1,024 of width 32"),
    ]:
        done = vqcli("info", target)
        assert done.exit_code == 0, done.stderr
        assert line in done.stdout.splitlines()
        assert json.loads(vqcli("info", target, "--json").stdout)["kind"] == kind
        assert vqcli("info", target, "-q").stdout == f"{target}\n"
    assert "\n\ndisc          2\nring          2\n" in vqcli("info", "t.npy", "-v").stdout


def test_info_of_a_generator_lists_its_classes(tmp_path, model):
    names = tuple(f"class {i}" for i in range(12))
    generator = make_generator(tmp_path / "generator", model, classes=12, names=names)
    rows = dict(line.split(maxsplit=1) for line in vqcli("info", generator).stdout.splitlines())
    assert rows["classes"] == "12: class 0, class 1, class 2, class 3, class 4 and 7 more"
    every = vqcli("info", generator, "-v").stdout.partition("\n\n")[2].splitlines()
    assert every[0].split() == ["0", "class", "0"]
    assert len(every) == 12
    assert json.loads(vqcli("info", generator, "--json").stdout)["class_names"] == list(names)
