"""``vqcli prune`` as a user meets it."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.images import picture, save
from tests.models import make_model
from vqcli.cli.app import app


def vqcli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")


def prune(*arguments):
    return vqcli("prune", *arguments, "--num-workers", 0, "--device", "cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", codes=300)


@pytest.fixture(scope="module")
def encoded(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("tokens") / "t.npy"
    vqcli("encode", "demo:5", "-o", out, "-m", model, "--num-workers", 0, "--device", "cpu")
    return out


@pytest.fixture
def tokens(encoded, tmp_path):
    for suffix in (".npy", ".json"):
        (tmp_path / f"t{suffix}").write_bytes(encoded.with_suffix(suffix).read_bytes())
    return tmp_path / "t.npy"


def test_what_is_told(tmp_path, model, tokens):
    out = tmp_path / "pruned"
    done = prune(model, "-o", out, "--images", "demo:3", "--tokens", tokens)
    used = len(np.unique(np.load(tokens)))
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"{out}  {used} of 300 codes, model {model}",
        "counted over 128 tokens:",
        "  3 images of demo:3, colours to sRGB, resize (bicubic) and centre crop to 8x8",
        f"  5 images of {tokens}, colours to sRGB, resize (bicubic) and centre crop to 8x8",
        f"{tmp_path}/t-pruned.npy  tokens with their new numbers",
    ]
    assert "renumber: 5/5 images" in done.stderr
    assert f"{used} of width 4" in vqcli("info", out).stdout
    assert vqcli("usage-report", out, "--fail-below", 1).exit_code == 0


def test_json_and_quiet(tmp_path, model, tokens):
    value = json.loads(prune(model, "-o", tmp_path / "a", "--tokens", tokens, "--json").stdout)
    assert (value["out"], value["model"], value["codes"]) == (str(tmp_path / "a"), str(model), 300)
    assert (value["renumbered"], value["rejected"]) == ([f"{tmp_path}/t-pruned.npy"], [])
    quiet = prune(model, "-o", tmp_path / "b", "--images", "demo:3", "--min-count", 2, "-q")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, f"{tmp_path}/b\n", "")


def test_nothing_to_drop(tmp_path, model):
    prune(model, "-o", tmp_path / "a", "--images", "demo:3")
    arguments = (tmp_path / "a", "-o", tmp_path / "b", "--images", "demo:3")
    done = prune(*arguments)
    assert done.exit_code == 0
    size = json.loads(vqcli("info", tmp_path / "a", "--json").stdout)["codebook_size"]
    sentence = f"all {size} codes of {tmp_path}/a are used: nothing to drop, nothing written"
    assert done.stdout.splitlines()[0] == sentence
    assert json.loads(prune(*arguments, "--json").stdout)["out"] is None
    assert prune(*arguments, "-q").stdout == f"{tmp_path}/a\n"  # the model to go on with
    assert not (tmp_path / "b").exists()


def test_rejected_images(tmp_path, model):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(save(Image.fromarray(picture(8, 8)), "PNG"))
    (tmp_path / "in" / "b.png").touch()
    command = (model, "--images", tmp_path / "in", "-o")
    done = prune(*command, tmp_path / "out")
    assert done.exit_code == 3
    assert done.stdout.splitlines()[-2:] == ["rejected (1):", "  b.png: empty-file"]
    assert done.stderr.splitlines()[-1] == "warning: 1 input was rejected"
    assert (tmp_path / "out" / "config.json").is_file()
    strict = prune(*command, tmp_path / "strict", "--strict")
    assert (strict.exit_code, strict.stdout) == (1, "")
    assert "error: b.png: empty-file" in strict.stderr
    assert not (tmp_path / "strict").exists()
    (tmp_path / "in" / "a.png").write_bytes(b"?")
    assert prune(*command, tmp_path / "none").exit_code == 1


def test_what_cannot_be(tmp_path, model, tokens):
    for arguments, code, sentence, hint in [
        ((model,), 1, "nothing tells which codes are used", "--images, or tokens"),
        ((model, "--tokens", tokens, "--min-count", 2), 1, "codes that the tokens use could", "encode them"),
        ((model, "--tokens", tmp_path / "away.npy"), 1, "away.npy does not exist", "vqcli encode wrote"),
        ((model, "--images", tmp_path / "away"), 1, "away does not exist", ""),
        ((tmp_path / "away", "--images", "demo:2"), 1, "there is no model at", ""),
        ((model, "--images", "demo:2", "--min-count", 99), 1, "none would be left", "smaller --min-count"),
        ((model, "--images", "demo:2", "--min-count", 0), 2, "--min-count", ""),
        ((model, "--tokens", tokens, "--limit", 3), 2, "choose among --images", ""),
    ]:
        done = prune(*arguments, "-o", tmp_path / "out")
        assert (done.exit_code, done.stdout) == (code, "")
        assert sentence in done.stderr.replace("\n", " ")
        assert hint in done.stderr
        assert "internal" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.json", "t.npy"]
    assert prune(model, "--images", "demo:2").exit_code == 2
