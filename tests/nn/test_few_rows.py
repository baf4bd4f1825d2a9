"""Linear maps of few rows are what torch's are."""

import pytest
import torch
from torch import nn

from vqcli.nn.linear import FEW, Linear


@pytest.mark.parametrize("rows", [1, 2, 16, FEW, FEW + 1])
@pytest.mark.parametrize("bias", [False, True])
def test_few_rows_give_the_same(rows, bias):
    torch.manual_seed(0)
    ours, theirs = Linear(24, 40, bias=bias), nn.Linear(24, 40, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(rows, 1, 24)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours(x.half()[:1].float()), theirs(x.half()[:1].float()))
    assert ours(x).grad_fn is not None
