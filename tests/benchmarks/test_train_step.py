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


@pytest.mark.parametrize("adaptive", [False, True])
def test_both_loops_train_alike(adaptive):
    torch.set_num_threads(1)
    options = Namespace(batch_size=2, size=32, network="tiny", adaptive=adaptive, device="cpu")
    with train_step.make(options, *GENTLE) as (trainer, batches):
        hand = train_step.twin(trainer)
        loops = {
            name: train_step.loop_of(name, own, batches, adaptive=adaptive)
            for name, own in (("plain", hand), ("vqcli", trainer))
        }
        before = copy.deepcopy(trainer.modules)
        train_step.timed(loops, 1, "cpu")
        assert trainer.step == train_step.WARM + 1
        for part, module in trainer.modules.items():
            moved = 0.0
            first, theirs = before[part].state_dict(), hand.modules[part].state_dict()
            for name, ours in module.state_dict().items():
                torch.testing.assert_close(ours, theirs[name], rtol=1e-3, atol=2e-5)
                moved = max(moved, (ours - first[name]).abs().max().item())
            assert moved > 1e-4
