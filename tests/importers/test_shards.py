"""Weights in several files: read as their index says, or refused with the file and the reason."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vqcli.errors import VqcliError
from vqcli.importers.containers import read_checkpoint
from vqcli.importers.shards import digest

STATE = {f"encoder.{i}.weight": torch.full((2,), float(i)) for i in range(4)}
NAMES = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]


@pytest.fixture
def index(tmp_path):
    halves = [dict(list(STATE.items())[:2]), dict(list(STATE.items())[2:])]
    for name, half in zip(NAMES, halves):
        save_file(half, tmp_path / name)
    told = {key: name for name, half in zip(NAMES, halves) for key in half}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 32}, "weight_map": told}))
    return path


def change(index, **changed):
    told = json.loads(index.read_text())
    told["weight_map"] = {**told["weight_map"], **{key.replace("__", "."): x for key, x in changed.items()}}
    index.write_text(json.dumps(told))


def refused(index, said, reason):
    with pytest.raises(VqcliError, match=said) as error:
        read_checkpoint(index)
    assert (error.value.reason, bool(error.value.hint)) == (reason, True)
    assert str(index.parent) in str(error.value)


def test_all_shards_are_read(index):
    found = read_checkpoint(index)
    assert found.state.keys() == STATE.keys()
    assert all(torch.equal(found.state[key], x) for key, x in STATE.items())


def test_shards_of_torch_save(tmp_path):
    for i, key in enumerate(STATE):
        torch.save({key: STATE[key]}, tmp_path / f"pytorch_model-{i}.bin")
    told = {key: f"pytorch_model-{i}.bin" for i, key in enumerate(STATE)}
    path = tmp_path / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"weight_map": told}))
    assert read_checkpoint(path).state.keys() == STATE.keys()


def test_the_hash_is_of_all(index):
    before = digest(index)
    save_file({key: x + 1 for key, x in list(STATE.items())[2:]}, index.with_name(NAMES[1]))
    assert digest(index) != before


def test_a_missing_shard(index):
    index.with_name(NAMES[1]).unlink()
    refused(index, f"names {NAMES[1]}, which .* does not hold", "input-missing")


@pytest.mark.parametrize(
    "name", ["../a.safetensors", "/etc/passwd", "a/b.safetensors", "..", "c:a", "a\\b", ""]
)
def test_no_name_leaves_the_folder(index, name):
    change(index, encoder__0__weight=name)
    refused(index, "no name of a file beside it", "damaged")


def test_each_tensor_is_where_the_index_says(index):
    change(index, encoder__0__weight=NAMES[1])
    refused(index, f"{NAMES[1]} lacks 'encoder.0.weight'|{NAMES[0]} holds 'encoder.0.weight'", "damaged")


def test_a_tensor_that_two_shards_hold(index):
    half = dict(list(STATE.items())[2:])
    save_file(half | {"encoder.0.weight": torch.ones(2)}, index.with_name(NAMES[1]))
    refused(index, f"{NAMES[1]} holds 'encoder.0.weight', which is not there by {index.name}", "damaged")


def test_a_tensor_that_the_index_names_twice(index):
    text = index.read_text().replace('"encoder.1.weight"', '"encoder.0.weight"')
    index.write_text(text)
    refused(index, "key 'encoder.0.weight' is there twice", "damaged")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "[" * 100_000]
)
def test_no_index(index, text):
    index.write_text(text)
    refused(index, "is no (index of weights|readable JSON file)", "damaged")


def test_a_damaged_shard_is_named(index):
    index.with_name(NAMES[0]).write_bytes(b"<html>")
    refused(index, f"{NAMES[0]} is a web page", "format")
