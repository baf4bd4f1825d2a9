"""A model in a larger file: whose keys have more before them, beside others, or in a folder."""

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.importers.foreign import CASES
from vqcli.checkpoint.tokenizer import fingerprint
from vqcli.errors import VqcliError
from vqcli.importers.options import ImportOptions
from vqcli.library.find import model_folder
from vqcli.library.importing import import_model

CASE = CASES["llamagen"]
SIZE = ImportOptions(size=(16, 16))
pytestmark = pytest.mark.usefixtures("own_cache")


def under(prefix, state):
    return {f"{prefix}{key}": x for key, x in state.items()}


def others(*names):
    return {f"{name}.conv.weight": torch.ones(3) for name in names}


def imported(tmp_path, value, out="out"):
    torch.save(value, tmp_path / "a.ckpt")
    return import_model(tmp_path / "a.ckpt", tmp_path / out, SIZE)


@pytest.mark.parametrize(
    ("around", "inside"),
    [
        (
            lambda s: {"state_dict": under("first_stage_model.", s) | others("model", "model")},
            "first_stage_model.",
        ),
        (lambda s: {"state_dict": under("model.", s) | others("loss", "lpips")}, "model."),
        (lambda s: {"state_dict": under("model.vqvae.", s) | others("model.head")}, "model.vqvae."),
        (lambda s: {"model": under("ema_model.", s) | under("online_model.", poor(s))}, "ema_model."),
        (lambda s: {"net": under("module.tokenizer.", s) | others("module.head")}, "tokenizer."),
        (lambda s: {"model": others("a"), "other": under("_orig_mod.vq.", s)}, "vq."),
    ],
)
def test_a_model_inside_of_another(tmp_path, state, around, inside):
    found = imported(tmp_path, around(state))
    assert found.record.get("inside", "") == inside
    assert found.fingerprint == fingerprint(CASE.model())
    assert found.record["averaged"] == ("ema" in inside)


def poor(state):
    return {key: x * 0 for key, x in state.items()}


def test_what_is_left_out_is_told(tmp_path, state):
    found = imported(
        tmp_path, {"state_dict": under("vq.", state) | others("loss", "disc") | {"a.b.c": torch.ones(1)}}
    )
    assert found.record["left_out"] == {"loss": 1, "disc": 1, "a": 1}
    assert "from 'vq.' in it" in (found.out / "README.md").read_text()


def test_the_container_that_is_known_is_taken(tmp_path, state):
    found = imported(tmp_path, {"model": others("unet"), "vqvae": state, "ema": others("unet")})
    assert (found.record["container"], found.record["averaged"]) == ("vqvae", False)


def test_several_models_are_not_guessed_between(tmp_path, state):
    with pytest.raises(VqcliError, match=r"several models, .* begin with 'left\.', 'right\.'") as error:
        imported(tmp_path, under("left.", state) | under("right.", state))
    assert error.value.reason == "ambiguous"


def test_a_missing_key_inside_is_named(tmp_path, state):
    del state["decoder.conv_in.bias"]
    with pytest.raises(VqcliError, match=r"lacks 'decoder\.conv_in\.bias'"):
        imported(tmp_path, under("vq.", state))


def sharded(folder, state):
    folder.mkdir()
    told = {key: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, key in enumerate(state)}
    for name in set(told.values()):
        save_file({key: x for key, x in state.items() if told[key] == name}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": told}))
    return folder


def test_a_folder_of_shards(tmp_path, state):
    folder = sharded(tmp_path / "shards", state)
    index = folder / "model.safetensors.index.json"
    found = [import_model(path, tmp_path / f"out-{i}", SIZE) for i, path in enumerate((folder, index))]
    assert {each.fingerprint for each in found} == {fingerprint(CASE.model())}
    assert found[0].record["file"] == index.name
    assert found[0].record["sha256"] == found[1].record["sha256"]
    assert model_folder(str(folder)) == model_folder(str(index))


def test_what_training_leaves_in_a_folder(tmp_path, state):
    """accelerate and transformers: weights twice, beside states of optimizers."""
    folder = sharded(tmp_path / "a", state)
    torch.save(state, folder / "pytorch_model.bin")
    for name in ("optimizer.bin", "scheduler.pt", "training_args.bin", "rng_state.pth", "scaler.pt"):
        torch.save({"state": {}}, folder / name)
    assert import_model(folder, tmp_path / "out", SIZE).record["file"] == "model.safetensors.index.json"


def test_a_folder_of_several_models(tmp_path, state):
    for name in ("a.pt", "b.pt"):
        torch.save(state, tmp_path / name)
    with pytest.raises(VqcliError, match=r"holds several models: a\.pt, b\.pt") as error:
        import_model(tmp_path, tmp_path / "out")
    assert f"name one: {tmp_path}/a.pt" == error.value.hint


def test_a_shard_that_changes_is_another_model(tmp_path, state):
    folder = sharded(tmp_path / "shards", state)
    before = model_folder(str(folder))
    (folder / "model.safetensors.index.json").unlink()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    sharded(folder, {key: x * 2 for key, x in state.items()})
    assert model_folder(str(folder)) != before
