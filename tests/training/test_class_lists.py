"""The classes of data and of the model that a run starts from are compared by name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.seals import put
from tests.training.test_generator_task import encoded, start, tokenizer  # noqa: F401 (a fixture)
from tests.training.tiny import Recorded
from vqcli.checkpoint.classes import read_classes
from vqcli.data.classes import imagenet
from vqcli.errors import VqcliError
from vqcli.training.classes import ClassList

MODEL = Path("cats")


def test_classes_keep_their_numbers_where_the_lists_agree():
    ours = ClassList(["cat", "dog"])
    assert ours.follow(["cat", "dog"], MODEL) == ""
    assert ours.number(torch.tensor([1, 0])).tolist() == [1, 0]


def test_classes_get_the_model_s_numbers():
    ours = ClassList(["cat", "dog"])
    assert (
        ours.follow(["dog", "cow", "cat"], MODEL) == "classes are numbered as in cats: cat 0 -> 2, dog 1 -> 0"
    )
    assert ours.number(torch.tensor([0, 1, 1])).tolist() == [2, 0, 0]
    assert ours.names == ["dog", "cow", "cat"]


def test_some_of_imagenets_classes_are_those_of_a_model_of_all():
    ours = ClassList(["n02099601", "n01440764"])
    assert "golden retriever 0 -> 207" in ours.follow([known.name for known in imagenet()], MODEL)
    assert ours.number(torch.tensor([0, 1])).tolist() == [207, 0]


def test_other_classes_altogether_are_told():
    ours = ClassList(["cat", "dog"])
    told = ours.follow(["rose", "tulip"], MODEL)
    assert told == "cats knows other classes: their numbers now stand for cat, dog"
    assert (ours.names, ours.number(torch.tensor([1])).tolist()) == (["cat", "dog"], [1])


def test_a_model_that_knows_some_and_not_others_is_refused():
    with pytest.raises(VqcliError, match="cats knows 1 of the 3 classes of the data, but not dog, emu"):
        ClassList(["cat", "dog", "emu"]).follow(["cow", "cat"], MODEL)


def test_without_names_nothing_can_be_compared_and_it_is_told():
    named = ClassList(["cat"])
    assert "classes of cats have no names" in named.follow([], MODEL)
    unnamed = ClassList([])
    assert "classes of the data have no names" in unnamed.follow(["cat"], MODEL)
    assert unnamed.names == ["cat"]
    assert ClassList([]).follow([], MODEL) == ""


def test_a_run_learns_the_same_of_tokens_whose_classes_stand_in_another_order(tokenizer, tmp_path):  # noqa: F811
    tokens = encoded(tokenizer, tmp_path / "tokens.npy")
    first = start(tmp_path / "first", tokenizer, f"data.source={tokens}")
    expected = start(tmp_path / "same", tokenizer, f"data.source={tokens}", f"init={first.model}")
    side = json.loads(tokens.with_suffix(".json").read_text())
    side["classes"] = side["classes"][::-1]
    side["labels"] = [len(side["classes"]) - 1 - label for label in side["labels"]]
    put(tokens.with_suffix(".json"), side)
    progress = Recorded()
    settings = (f"data.source={tokens}", f"init={first.model}")
    found = start(tmp_path / "other", tokenizer, *settings, progress=progress)
    assert any("classes are numbered as in" in line for line in progress.said)
    assert read_classes(found.model) == read_classes(first.model)
    weights = [load_file(result.model / "model.safetensors") for result in (expected, found)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
