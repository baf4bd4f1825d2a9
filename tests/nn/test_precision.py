"""Which bits of float32 a GPU's convolutions may drop, and where."""

import pytest
import torch

from vqcli.nn.precision import autocast

CUDA = torch.device("cuda")


@pytest.mark.parametrize("chosen", [True, False])
def test_fp32_is_exact_but_in_training(monkeypatch, chosen):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", chosen)
    with autocast("fp32", CUDA):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == chosen
    with autocast("fp32", CUDA, training=True):
        assert torch.backends.cudnn.allow_tf32 == chosen
