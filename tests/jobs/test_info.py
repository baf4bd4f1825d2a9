"""What a model folder and a recipe say of themselves."""

import json
import shutil

import pytest

from tests.generators.toys import TOYS, ToyFlow
from tests.models import make_generator, make_model
from tests.seals import put
from vqcli.checkpoint.generator import load_generator
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.errors import VqcliError
from vqcli.generators.gpt import Gpt
from vqcli.jobs.check import check_recipe
from vqcli.jobs.info import describe_model
from vqcli.parts import PARTS


def test_model_folder(tmp_path):
    folder = make_model(tmp_path / "model", codes=20)
    found, tokenizer = describe_model(str(folder)), load_tokenizer(folder)
    assert found.parameters == sum(p.numel() for p in tokenizer.parameters())
    assert (found.kind, found.codebook_size, found.width, found.downsample) == ("tokenizer", 20, 4, 2)
    assert (found.image_size, found.fingerprint) == ([8, 8], tokenizer.fingerprint)
    assert found.bytes == sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert found.usage is None
    assert found.tokenizer["codebook"]["name"] == "learned"


@pytest.mark.parametrize(
    ("kind", "images"),
    [(Gpt, "8x8 pixels, 4x4 tokens of 16 codes"), (ToyFlow, "8x8 pixels, 4x4 latents")],
)
def test_generators(tmp_path, monkeypatch, kind, images):
    monkeypatch.setitem(PARTS["generators"], "toy_flow", TOYS["toy_flow"])
    folder = make_generator(tmp_path / "gpt", make_model(tmp_path / "vq"), kind=kind)
    found = describe_model(str(folder))
    rows = dict(found.rows())
    classes = "4: tabby cat, tiger cat, Red Panda!, owl"
    assert (rows["images"], rows["classes"], rows["tokenizer"]) == (
        images,
        classes,
        str(folder / "tokenizer"),
    )
    assert found.listing() == [(0, "tabby cat"), (1, "tiger cat"), (2, "Red Panda!"), (3, "owl")]
    generator = load_generator(folder)
    assert found.parameters == sum(p.numel() for p in generator.parameters())
    assert found.fingerprint == generator.spec.fingerprint


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "config.json").unlink(), r"is no model folder: it has no config\.json"),
        (lambda f: put(f / "config.json", "{"), r"config\.json is no readable JSON file"),
        (lambda f: put(f / "config.json", "[]"), "holds no tokenizer, no generator and no classifier"),
        (lambda f: change(f, "width", None), r"config\.json does not tell 'width'"),
        (lambda f: change(f, "kind", "generator"), r"config\.json does not tell 'generator'"),
        (lambda f: change(f, "kind", "dog"), "holds no tokenizer, no generator and no classifier"),
        (lambda f: change(f, "kind", ["tokenizer"]), "holds no tokenizer, no generator and no classifier"),
        (lambda f: change(f, "format", 99), "has format 99"),
        (lambda f: change(f, "codebook_size", "x"), "damaged: codebook_size must be a whole number, not 'x'"),
        (lambda f: change(f, "image_size", [8]), "damaged: image_size must be of length 2 or more"),
        (lambda f: change(f, "tokenizer", []), r"damaged: tokenizer must be a section of keys, not \[\]"),
        (lambda f: change(f, "tokenizer", {}), r"config\.json is damaged: .*needs a name"),
        (lambda f: change(f, "plugins", {"a": 1}), r"damaged: plugins\.a must be a list, not 1"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"x" * 9),
            r"model\.safetensors cannot be read: its header claims",
        ),
        (lambda f: put(f / "usage.json", "{}"), r"usage\.json does not tell"),
        (shutil.rmtree, "there is no model at"),
    ],
)
def test_damaged_model_folders(tmp_path, damage, sentence):
    folder = make_model(tmp_path / "model")
    damage(folder)
    with pytest.raises(VqcliError, match=sentence) as refused:
        describe_model(str(folder))
    assert refused.value.hint


def change(folder, name, value):
    config = json.loads((folder / "config.json").read_text())
    config.pop(name, None)
    if value is not None:
        config[name] = value
    put(folder / "config.json", config)


def test_run_without_a_checkpoint(tmp_path):
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(VqcliError, match="is a run without a finished checkpoint") as refused:
        describe_model(str(tmp_path))
    assert "--resume" in refused.value.hint


def test_recipe(tmp_path):
    found = check_recipe("demo", ["training.steps=3", "data.source=demo:640"])
    assert found.steps == 3
    assert 0 < found.images <= 640
    assert found.parameters["total"] == sum(n for name, n in found.parameters.items() if name != "total")
    assert min(found.memory.values()) > 0
    away = check_recipe("demo", [f"data.source={tmp_path}/away", "training.steps='2 epochs'"])
    assert (away.images, away.steps) == (None, None)
    with pytest.raises(VqcliError):
        check_recipe("demo", ["training.stps=3"])
