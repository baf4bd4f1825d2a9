"""Linear maps of few rows are what torch's are."""

import os
import threading

import pytest
import torch
from torch import nn

from vqcli.nn import compiled, fast
from vqcli.nn.linear import FEW, Linear


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", ["never", "always"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 16, FEW, FEW + 1])
@pytest.mark.parametrize(("bias", "outputs"), [(False, 40), (True, 40), (False, 43)])
def test_few_rows_give_the_same(rows, bias, outputs, way, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setenv(fast.ENVIRONMENT, way)
    torch.manual_seed(0)
    ours, theirs = Linear(25, outputs, bias=bias), nn.Linear(25, outputs, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(rows, 1, 25)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours(x.transpose(0, 1)), theirs(x.transpose(0, 1)))
        torch.testing.assert_close(ours.double()(x.double()), theirs.double()(x.double()))
    assert ours(x.double()).grad_fn is not None


def test_an_error_in_a_thread_is_one():
    def kernel(value):
        if value:
            raise MemoryError

    with pytest.raises(MemoryError):
        compiled.each(kernel, [(0,), (1,)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_has_threads_of_its_own():
    used = []
    compiled.each(lambda _: used.append(threading.get_ident()), [(0,), (1,)])
    child = os.fork()
    if not child:
        try:
            compiled.each(lambda _: used.append(threading.get_ident()), [(0,), (1,)])
        finally:
            os._exit(0 if len(used) == 4 else 1)
    assert os.waitpid(child, 0)[1] == 0
