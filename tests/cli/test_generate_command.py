"""``vqcli generate`` as a user meets it: what is printed, and how it ends."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.cli.said import refused
from tests.models import make_generator, make_model
from vqcli.cli.app import app


def generate(*arguments):
    return CliRunner().invoke(
        app, [*map(str, ["generate", *arguments, "--device", "cpu"])], prog_name="vqcli"
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "tokenizer")


@pytest.fixture(scope="module")
def generator(tmp_path_factory, tokenizer):
    return make_generator(tmp_path_factory.mktemp("models") / "generator", tokenizer)


def test_what_is_said(tmp_path, generator, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = generate("--prompt-class", "0", "--prompt-class", "red", "-m", generator, "-n", "2")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"generated  4 images of tabby cat (0), Red Panda! (2), model {generator}",
        "generated-sheet.png  some of them on one sheet",
    ]
    said = done.stderr.splitlines()
    assert said[:2] == ["'red' is taken for Red Panda! (2)", "generate: 0/64 tokens"]
    assert said[2].startswith("generate: 64/64 tokens")
    assert done.stderr.rstrip().endswith("images 4")
    more = generate("--prompt-class", "0-3", "-m", generator, "-n", "2", "--npz", "x.npz")
    assert "4 images of tabby cat (0), tiger cat (1), Red Panda! (2), owl (3), 4 more were" in more.stdout
    assert more.stdout.splitlines()[2] == "x.npz  all of them as one array"
    tokens = generate("--prompt-class", "3", "-m", generator, "--tokens-only")
    assert tokens.stdout.splitlines() == [
        f"generated.npy  tokens of 8 images of owl (3), model {generator}",
        f"Next: vqcli decode generated.npy -o images -m {generator}/tokenizer",
    ]
    assert len(np.load("generated.npy")) == 8


def test_json_quiet_and_the_environment(tmp_path, generator, monkeypatch):
    monkeypatch.setenv("VQCLI_MODEL", str(generator))
    out = tmp_path / "out"
    value = json.loads(generate("--prompt-class", "owl", "-n", 1, "-o", out, "--json").stdout)
    assert (value["out"], value["model"], value["images"], value["kept"]) == (str(out), str(generator), 1, 0)
    assert value["classes"] == {"3": "owl"}
    assert (value["grid"], value["sheet"], value["npz"]) == ([[4, 4]], f"{out}-sheet.png", None)
    quiet = generate("--prompt-class", "owl", "-n", 1, "-o", out, "-q")
    assert (quiet.stdout, quiet.stderr) == (f"{out}\n", "")


def test_sampling_options_arrive(tmp_path, generator):
    given = {"cfg": 2.0, "cfg_interval": 5, "top_k": 7, "top_p": 0.5, "temperature": 0.8}
    flags = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", value)]
    out = tmp_path / "out"
    rest = ["-m", generator, "-o", out, "-n", 1, "--seed", 9, "--precision", "bf16", "-b", 2]
    assert generate("--prompt-class", "1", *flags, *rest).exit_code == 0
    record = json.loads((out / "samples.json").read_text())
    assert record["sampling"] == given
    assert {image["seed"] for image in record["images"]} == {9}
    assert record["precision"] == "bf16"
    assert record["images"][0]["file"] == "1-tiger_cat-s9-00000.png"


def test_what_is_refused(tmp_path, generator, tokenizer):
    ask = ("-m", generator, "-o", tmp_path / "out")
    assert refused(generate("--prompt-class", "4", *ask), "class 4 is out of range", "from 0 to 3")
    assert refused(generate("--prompt-class", "dog", *ask), "no class 'dog'", "0 to 3")
    assert refused(
        generate("--prompt-class", "1", *ask, "--top-p", 0), "top_p must be greater than 0, not 0.0", "--help"
    )
    assert refused(generate("--prompt-class", "1", "-m", tokenizer), "not a generator", "vqcli encode")
    image = generate("--prompt-class", "1", "-m", generator, "-o", tmp_path / "cat.png")
    assert refused(image, "cat.png is no name of a folder", "--npz")
    image = generate("--prompt-class", "1", "-m", generator, "-o", tmp_path / "cat.png", "--tokens-only")
    assert refused(image, "cat.png is no name for tokens", "NAME.npy")
    assert refused(generate("--prompt-class", "1,2", *ask), "no class '1,2'", "may repeat")
    assert generate("--prompt-class", "1", "-n", 1, *ask).exit_code == 0
    other = generate("--prompt-class", "1", "-n", 1, *ask, "--cfg", 2)
    assert refused(other, "holds images of another job: cfg 1.0 -> 2.0", "--force")
    assert generate("--prompt-class", "1", "-n", 1, *ask, "--cfg", 2, "--force").exit_code == 0
    both = generate("--prompt-class", "1", *ask, "--npz", tmp_path / "x.npz", "--tokens-only")
    assert (both.exit_code, generate(*ask).exit_code) == (2, 2)
    assert "--tokens-only makes none" in both.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out-sheet.png"]


def test_the_folder_one_is_in(tmp_path, generator, monkeypatch):
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    assert generate("--prompt-class", "1", "-n", 1, "-m", generator, "-o", ".").exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["place-sheet.png"]


def test_more_names_than_classes(tmp_path, tokenizer):
    """Tokens of the first classes keep the names of all."""
    model = make_generator(tmp_path / "gpt", tokenizer)
    names = json.loads((model / "classes.json").read_text())
    (model / "classes.json").write_text(json.dumps([*names, "unicorn", "griffin"]))
    for name in ("unicorn", "griffin"):
        asked = generate("--prompt-class", name, "-m", model, "-o", tmp_path / "out")
        assert refused(asked, f"no class '{name}'", "0 to")
