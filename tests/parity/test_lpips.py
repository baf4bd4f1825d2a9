"""LPIPS with weights in the published layout gives the distances that LPIPS's own package gives.

Weights are drawn from formulas that ``fill.py`` knows; pixels and the other images are given by one another.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.fill import write_checkpoint
from vqcli.library.weights import network_weights
from vqcli.nn.lpips import Lpips

SHARED = Path(os.environ.get("VQCLI_TEST_ASSETS", "nowhere"), "parity")


@pytest.mark.parametrize("net", ["vgg", "alex"])
def test_distances(net, tmp_path):
    case = SHARED / f"lpips-{net}"
    if not case.is_dir():
        pytest.skip("VQCLI_TEST_ASSETS names no folder with this case")
    with np.load(case / "golden.npz") as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    write_checkpoint(case, tmp_path / "all.pth")
    network = Lpips(net)
    network.load(network_weights(network.name, given=str(tmp_path / "all.pth")))
    x = golden["images"].permute(0, 3, 1, 2).float() / 127.5 - 1
    y = 0.9 * x.flip(0) + 0.03
    with torch.inference_mode():
        found = network.eval().per_layer(x, y)
    torch.testing.assert_close(found, golden["per_layer"].reshape(5, 4), rtol=1e-3, atol=0)
    torch.testing.assert_close(found.sum(0), golden["distance"].flatten(), rtol=1e-3, atol=0)
