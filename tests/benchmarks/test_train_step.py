"""The training step of the trainer and the one written out by hand are the same step."""

import copy
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import train_step

GENTLE = ("optimizer.eps=1e-2", "optimizer.lr=1e-2")
"""Adam that does not blow up rounding, at a rate that moves weights visibly."""


STEPS = 3


@pytest.mark.parametrize("adaptive", [False, True])
def test_both_loops_train_alike(adaptive):
    own = (*GENTLE, "tokenizer.network=tiny")
    assert_alike(train_step.GAN, own, options(adaptive=adaptive, size=32, network="tiny"))


def test_the_published_search_is_the_same_step():
    """But for tokens that are as near to two codes as it can tell."""
    own = ("tokenizer.codebook.last_layer=small", "tokenizer.codebook.revive_below=0", "schedule.warmup=0")
    assert_alike("fvq-cifar10", (*GENTLE, *own, "tokenizer.network=tiny"), options(), apart=5e-4)


def options(**own):
    return Namespace(**{"batch_size": 2, "device": "cpu"} | own)


def assert_alike(recipe, settings, asked, apart=2e-5):
    torch.set_num_threads(1)
    with train_step.make(recipe, asked, *settings) as (trainer, batches):
        hand = train_step.published_search(train_step.twin(trainer))
        loops = [
            train_step.loop_of(name, own, batches) for name, own in (("plain", hand), ("vqcli", trainer))
        ]
        before = copy.deepcopy(trainer.modules)
        for seed in range(STEPS):
            for step in loops:
                torch.manual_seed(seed)
                step()
        assert trainer.step == STEPS
        for part, module in trainer.modules.items():
            moved = 0.0
            first, theirs = before[part].state_dict(), hand.modules[part].state_dict()
            for name, ours in module.state_dict().items():
                torch.testing.assert_close(ours, theirs[name], rtol=1e-3, atol=apart)
                moved = max(moved, (ours - first[name]).abs().max().item())
            assert moved > 4 * apart
