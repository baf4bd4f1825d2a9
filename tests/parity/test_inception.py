"""The FID Inception network with weights in the published layout gives the features of torch-fidelity.

Weights are drawn from formulas that ``fill.py`` knows.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.fill import write_checkpoint
from vqcli.library.weights import network_weights
from vqcli.nn.inception import FidInception

CASE = Path(os.environ.get("VQCLI_TEST_ASSETS", "nowhere"), "parity", "fid-inception")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    if not CASE.is_dir():
        pytest.skip("VQCLI_TEST_ASSETS names no folder with this case")
    path = tmp_path_factory.mktemp("weights") / "all.pth"
    write_checkpoint(CASE, path)
    network = FidInception()
    network.load(network_weights(network.name, given=str(path)))
    return network


@pytest.mark.parametrize(("prefix", "images"), [("f", "images"), ("g", "images_140x180")])
def test_features(network, prefix, images):
    with np.load(CASE / "golden.npz") as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    with torch.inference_mode():
        found = network.layers(golden[images].permute(0, 3, 1, 2))
    assert list(found) == ["192", "768", "2048", "logits_unbiased"]
    for name, features in found.items():
        want = golden[f"{prefix}_{name}"]
        assert features.shape == want.shape
        assert (features - want).norm() < 1e-4 * want.norm(), name
        torch.testing.assert_close(features, want, rtol=1e-3, atol=1e-3)
