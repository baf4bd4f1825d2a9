"""diffusers' settings beside weights on a Hub, and what the list of models says of what is here."""

import json

from safetensors.torch import save

from tests.hub.commands import refused, vqcli
from tests.importers.foreign import CASES
from vqcli.library import aliases
from vqcli.library.alias import Published

NAME = "diffusion_pytorch_model.safetensors"


def weights():
    case = CASES["diffusers"]
    return save(case.state(case.model()))


def test_a_file_of_diffusers_is_read_with_its_settings(hub):
    settings = b'{"norm_num_groups": 16}'
    hub.commit("them/d", {NAME: weights(), "other.safetensors": weights(), "config.json": settings})
    refused(f"hf://them/d/{NAME}", "norm_num_groups is 16")
    hub.commit("them/d", {"config.json": b'{"norm_num_groups": 32}'})
    assert vqcli("pull", f"hf://them/d/{NAME}").exit_code == 0


def test_an_import_without_settings_stands_for_no_other(hub):
    """A file of another name is taken alone; that does not hide what its repository says."""
    hub.commit("them/d", {"own.safetensors": weights(), "config.json": b'{"norm_num_groups": 16}'})
    assert vqcli("pull", "hf://them/d/own.safetensors").exit_code == 0
    refused("them/d", "norm_num_groups is 16")


def test_models_that_are_here(hub, monkeypatch):
    data = weights()
    hub.commit("them/d", {f"vqvae/{NAME}": data, "vqvae/config.json": b"{}"})
    for name, file in (("tiny-all", ""), ("tiny-folder", "vqvae")):
        monkeypatch.setitem(aliases.ALIASES, name, Published("them/d", file, what="a test"))

    def listed():
        rows = json.loads(vqcli("list", "models", "--json").stdout)
        return {row["name"]: (row["cached"], row["bytes"]) for row in rows if row["name"].startswith("tiny")}

    assert listed() == {"tiny-all": (False, None), "tiny-folder": (False, None)}
    assert vqcli("pull", "tiny-folder").exit_code == 0
    assert listed() == {"tiny-all": (True, len(data)), "tiny-folder": (True, len(data))}
