"""What ``vqcli info`` tells of recipes, and what a name stands for where it could be several things."""

import pytest

from vqcli.errors import VqcliError
from vqcli.jobs.info import describe, is_recipe
from vqcli.jobs.recipe_info import describe_recipe
from vqcli.recipes import recipe_names


def test_a_tokenizer(tmp_path):
    found = describe("fvq-cifar10-gan")
    rows = dict(found.rows())
    assert found.kind == "recipe"
    assert found.summary.startswith("FVQ on 32x32 images against a discriminator")
    assert rows["trains"] == f"a tokenizer, {found.parameters:,} parameters"
    assert rows["codes"] == "4,096 of width 64"
    assert rows["images"] == "32x32 pixels, a token for 4x4"
    assert rows["tokens"] == "64 an image"
    assert rows["codebook"] == "bridged"
    assert rows["adversarial"] == "patchgan, weight 0.5, from 500 on"
    assert rows["length"] == "1,000 steps of 64 images"
    assert ("training.batch_size", "64") in found.listing()


def test_a_generator_whose_tokenizer_is_still_to_come(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = describe("gpt-demo")
    rows = dict(found.rows())
    assert rows["trains"].startswith("a generator, ")
    assert rows["generator"] == "gpt, layers 4, heads 4, width 96"
    assert rows["tokenizer"] == "runs/demo-64"
    assert rows["images"] == "32x32 pixels, 8x8 tokens of 64 codes"
    (tmp_path / "mine.yaml").write_text("extends: gpt-demo\ntokenizer: somewhere/else/far\n")
    other = describe("mine.yaml")
    assert other.parameters is None
    assert dict(other.rows())["trains"] == "a generator"


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_tells_its_parts(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = describe_recipe(name)
    rows = dict(found.rows())
    assert {"recipe", "what", "trains", "length", "data", "next"} <= rows.keys()
    assert found.parameters > 0
    assert ("codes" in rows) or ("latents" in rows) or ("classes" in rows)


def test_files_are_recipes_and_what_lies_here_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_recipe("demo")
    assert not is_recipe("llamagen-vq16")  # a published model has this name: info told of it before
    assert not is_recipe("demo:30")
    (tmp_path / "demo").mkdir()
    assert not is_recipe("demo")
    with pytest.raises(VqcliError, match=r"away\.yaml does not exist"):
        describe("away.yaml")
    (tmp_path / "bad.yaml").write_text("extends: demo\nlosess: {}\n")
    with pytest.raises(VqcliError, match="losess"):
        describe("bad.yaml")
