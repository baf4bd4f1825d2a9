import pytest
import torch
from accelerate import Accelerator

from vqcli.errors import VqcliError
from vqcli.training.state import check_same, gathered, load_rng, rng_tensors


def test_random_states_of_the_second_process_come_back():
    """A row of what was gathered is a view with an offset, which torch's generator would misread."""
    torch.manual_seed(1)
    other = rng_tensors()
    torch.manual_seed(2)
    mine, drawn = rng_tensors(), torch.rand(5)
    rows = {name: torch.stack([other[name], x]) for name, x in mine.items()}
    load_rng({name: x[1] for name, x in rows.items()})
    assert torch.equal(torch.rand(5), drawn)


def test_a_macs_own_random_state_comes_back(monkeypatch):
    state = {"now": torch.arange(4, dtype=torch.uint8)}
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: state["now"])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda new: state.update(now=new))
    kept = rng_tensors()
    state["now"] = torch.zeros(4, dtype=torch.uint8)
    load_rng(kept)
    assert state["now"].tolist() == [0, 1, 2, 3]


def test_one_process_gathers_one_row():
    accelerator = Accelerator(cpu=True)
    rows = gathered(accelerator, {"a": torch.arange(3), "b": torch.tensor(2.5)})
    type(accelerator.state)._reset_state(reset_partial_state=True)
    assert rows["a"].tolist() == [[0, 1, 2]]
    assert rows["b"].tolist() == [2.5]


def test_every_difference_is_listed():
    check_same({"a": 1}, {"a": 1}, "it")
    with pytest.raises(
        VqcliError, match=r"it changed since the checkpoint: a 1 -> 2, b None -> 3, c 4 -> None$"
    ):
        check_same({"a": 1, "c": 4}, {"a": 2, "b": 3}, "it")
