"""Which bits of float32 a GPU's convolutions may drop, and where."""

import pytest
import torch

from vqcli.errors import VqcliError
from vqcli.nn.precision import asking_later, autocast, finite

CUDA = torch.device("cuda")


@pytest.mark.parametrize("chosen", [True, False])
def test_fp32_is_exact_but_in_training(monkeypatch, chosen):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", chosen)
    with autocast("fp32", CUDA):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == chosen
    with autocast("fp32", CUDA, training=True):
        assert torch.backends.cudnn.allow_tf32 == chosen


def test_what_is_not_finite_is_told_at_once_or_by_a_sum():
    bad = torch.tensor([1.0, torch.nan])
    for device in ("cpu", "cuda"):
        with asking_later(torch.device(device)) as sums:
            if device == "cpu":
                with pytest.raises(VqcliError, match="it holds NaN or Inf"):
                    finite(bad, "it")
            else:
                assert finite(bad, "it") is bad
        assert [bool(x.isfinite()) for x in sums] == ([False] if device == "cuda" else [])
    with pytest.raises(VqcliError):
        finite(bad, "it")
