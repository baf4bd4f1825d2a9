"""A recipe laid over another one."""

import re
from pathlib import Path

import pytest

from vqcli.config import merged
from vqcli.errors import VqcliError
from vqcli.training.recipe import parse_recipe, read_recipe

DOCS = Path(__file__).parents[2] / "docs" / "recipes.md"


def write(folder, **texts):
    """Recipe files by name; the path of the last."""
    for name, text in texts.items():
        path = folder / f"{name}.yaml"
        path.write_text(text)
    return str(path)


def test_sections_are_merged_key_by_key():
    base = {"a": 1, "b": {"x": 1, "y": {"z": 2}}, "c": {"x": 1}}
    own = {"b": {"y": {"w": 3}}, "c": None, "d": {"x": 5}}
    assert merged(base, own) == {"a": 1, "b": {"x": 1, "y": {"z": 2, "w": 3}}, "c": None, "d": {"x": 5}}
    assert base == {"a": 1, "b": {"x": 1, "y": {"z": 2}}, "c": {"x": 1}}
    assert merged({"a": {"x": 1}}, {"a": 2}) == {"a": 2}
    assert merged({"a": 2}, {"a": {"x": 1}}) == {"a": {"x": 1}}


def test_a_part_of_another_name_replaces_the_whole_part():
    base = {"part": {"name": "nearest", "metric": "cosine"}}
    assert merged(base, {"part": {"name": "residual"}}) == {"part": {"name": "residual"}}
    assert merged(base, {"part": {"name": "nearest", "x": 1}})["part"] == base["part"] | {"x": 1}
    assert merged(base, {"part": {"x": 1}})["part"] == base["part"] | {"x": 1}


def test_a_key_of_its_own_comes_last_and_so_wins_over_a_dial(tmp_path):
    """``bridge`` stands for hidden width, patch and more; what comes later wins."""
    path = write(
        tmp_path,
        dial="extends: fvq-cifar10\ntokenizer: {codebook: {hidden: 32}}",
        other="extends: dial.yaml\ntokenizer: {codebook: {bridge: B/2}}",
    )
    assert read_recipe(str(tmp_path / "dial.yaml")).tokenizer.codebook.hidden == 32
    assert (
        read_recipe(path).tokenizer.codebook
        == read_recipe("fvq-cifar10", ["tokenizer.codebook.bridge=B/2"]).tokenizer.codebook
    )


def test_a_recipe_is_the_one_below_with_what_it_says(tmp_path):
    own = (
        "extends: llamagen-cifar10\ntraining: {steps: 7}\ntokenizer: {quantizer: {name: residual, depth: 2}}"
    )
    recipe = read_recipe(write(tmp_path, own=own))
    asked = ["training.steps=7", "tokenizer.quantizer={name: residual, depth: 2}"]
    assert recipe == read_recipe("llamagen-cifar10", asked)  # residual has no metric to inherit
    assert recipe != read_recipe("llamagen-cifar10")


def test_files_extend_files_beside_them_and_set_comes_last(tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    write(tmp_path / "below", base="extends: demo\nseed: 1\ntraining: {steps: 7, batch_size: 4}")
    path = write(tmp_path, own="extends: below/base.yaml\ntraining: {steps: 8}")
    monkeypatch.chdir(tmp_path / "below")
    recipe = read_recipe(path, ["training.batch_size=2"])
    assert (recipe.seed, recipe.training.steps, recipe.training.batch_size) == (1, 8, 2)
    assert recipe.data == read_recipe("demo").data


def test_a_section_is_taken_away_and_a_loss_left_out(tmp_path):
    path = write(tmp_path, own="extends: fvq-cifar10-gan\nadversarial: null\nlosses: {l1: 1.0, l2: 0}")
    recipe = read_recipe(path)
    assert recipe.adversarial is None
    assert {name: loss.weight for name, loss in recipe.losses.items()} == {"l1": 1, "l2": 0}


def test_what_is_stored_stands_on_no_other_recipe():
    recipe = read_recipe("fvq-cifar10-gan")
    stored = recipe.model_dump(mode="json")
    assert "extends" not in stored
    assert parse_recipe(stored, "stored") == recipe


def test_the_example_of_the_page(tmp_path):
    example = re.search(r"```yaml\n(extends: .*?)```", DOCS.read_text(), re.DOTALL)[1]
    assert len(example.splitlines()) == 5
    recipe, below = read_recipe(write(tmp_path, own=example)), read_recipe("fvq-cifar10-gan")
    assert {name: loss.weight for name, loss in recipe.losses.items()} == {"l2": 1, "perceptual": 1}
    assert recipe.training == below.training.model_copy(update={"steps": 5000})
    assert recipe.adversarial == below.adversarial


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"a": "extends: a.yaml"}, r"a\.yaml: it extends .*a\.yaml, which extends it"),
        ({"a": "extends: b.yaml", "b": "extends: a.yaml"}, "which extends it"),
        ({"a": "extends: fvq16k"}, "no recipe is called 'fvq16k'"),
        ({"a": "extends: gone.yaml"}, r"gone\.yaml does not exist"),
        ({"a": "seed: 1", "b": "extends: a.yaml"}, r"b\.yaml: a recipe needs a 'task'"),
        ({"a": "extends: demo\ntrainig: {steps: 1}"}, r"a\.yaml: unknown key 'trainig'"),
    ],
)
def test_what_cannot_be_extended(tmp_path, texts, said):
    path = write(tmp_path, **texts)
    with pytest.raises(VqcliError, match=said) as raised:
        read_recipe(path)
    assert raised.value.hint
    assert raised.value.reason == ("input-missing" if "does not exist" in said else "config")
