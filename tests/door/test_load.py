"""What ``vqcli.load`` takes: whatever ``-m`` does."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vqcli
from tests.importers.foreign import CASES
from tests.models import make_model
from tests.training.tiny import start


def test_runs_and_checkpoints(tmp_path):
    run = start(tmp_path / "run").run
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    exported, by_folder = vqcli.load(run, "cpu"), vqcli.load(run / "model", "cpu")
    checkpoint = vqcli.load(str(max((run / "checkpoints").iterdir())), torch.device("cpu"))
    assert exported.folder == by_folder.folder == run / "model"
    found = [model.encode(pixels).tokens for model in (exported, by_folder, checkpoint)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert not any(model.module.training for model in (exported, by_folder, checkpoint))


def test_a_published_file(tmp_path, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    case = CASES["taming"]
    save_file(case.state(case.model()), tmp_path / "vq.safetensors")
    model = vqcli.load(tmp_path / "vq.safetensors", "cpu")
    assert (tmp_path / "cache") in model.folder.parents
    assert model.spec.codebook_size == case.model().spec.codebook_size


def test_the_environment_does_not_choose_for_a_program(tmp_path, monkeypatch):
    monkeypatch.setenv("VQCLI_MODEL", str(make_model(tmp_path / "other")))
    with pytest.raises(vqcli.VqcliError, match="there is no model at"):
        vqcli.load("missing", "cpu")
    with pytest.raises(vqcli.VqcliError, match="device 'abacus' cannot be used"):
        vqcli.load(tmp_path / "other", "abacus")
