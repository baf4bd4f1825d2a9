"""Means over a window of steps, some numbers of which come later or are not finite."""

import math

import torch

from tests.training.test_flags import Counting
from vqcli.training.window import Window

STEPS = [
    {"loss": 1.0, "norm": math.nan},
    {"loss": 2.0, "norm": 4.0},
    {"norm": math.inf, "loss": 3.0, "judge": -1.0},
    {"judge": -2.0},
]


def add(window, steps):
    for step in steps:
        window.add({name: torch.tensor(value) for name, value in step.items()})


def means(window):
    found = window.close()
    found.pop("images_per_second")
    return found


def test_means_are_over_what_is_finite_and_there():
    window = Window()
    add(window, STEPS)
    found = means(window)
    assert found == {"loss": 2.0, "norm": 4.0, "judge": -1.5}
    assert list(found) == ["loss", "norm", "judge"]
    assert means(window) == {}


def test_a_window_goes_on_from_a_checkpoint():
    for kept in range(len(STEPS) + 1):
        first, second = Window(), Window()
        add(first, STEPS[:kept])
        second.load_tensors(first.tensors(), torch.device("cpu"))
        add(second, STEPS[kept:])
        assert means(second) == {"loss": 2.0, "norm": 4.0, "judge": -1.5}


def test_all_numbers_of_a_step_are_added_at_once():
    window, launched = Window(), []
    for count in (3, 30):
        with Counting() as counts:
            add(window, [{str(i): 1.0 for i in range(count)}] * 2)
        launched.append(len(counts.computed))
    assert launched[1] <= launched[0] + 3  # room for names is made once
