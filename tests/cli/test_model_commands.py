"""``vqcli info`` and ``vqcli check`` as a user meets them."""

import json

import pytest
from typer.testing import CliRunner

from tests.models import make_model
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
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").touch()
    (model / "config.json").write_text('{"kind": "generator"}')
    for arguments, message, hint in [
        ([], "no model was given", "name a model"),
        ([tmp_path / "away"], "there is no model at", "a run"),
        ([tmp_path], "is no model folder", "vqcli train"),
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
