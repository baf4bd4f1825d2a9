"""Runs of two processes, and what each of them holds."""

import json
import os
from datetime import timedelta

import torch
import torch.distributed as dist

from tests import processes
from tests.training.tiny import Recorded
from vqcli.errors import Interrupted
from vqcli.jobs import train as job
from vqcli.training.loop import Trainer

PATIENCE = timedelta(seconds=120)
"""A process whose fellow does not come along gives up after it."""


def launch(folder, *runs):
    """Train ``folder/recipe.yaml`` on two processes, as each run (name, settings, options) says.

    ``folder/name`` is the run, ``folder/name-RANK.json`` tells what a process held in the end.
    """
    processes.spread(_process, folder, runs)


def _process(rank, folder, runs):
    job.Trainer = Watched
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    for number, (name, settings, options) in enumerate(runs):
        store = dist.FileStore(str(folder / f"store-{number}"), 2)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=PATIENCE)
        _train(folder / name, list(settings), dict(options))


def _train(folder, settings, options):
    stop_at = options.pop("stop_at", None)
    recipe = None if options.get("resume") else str(folder.parent / "recipe.yaml")
    asked = job.TrainOptions(recipe, folder, settings=settings, device="cpu", **options)
    try:
        job.train(asked, Recorded(stop_at))
    except Interrupted:
        assert stop_at


class Watched(Trainer):
    """A trainer that writes down what its process holds, when it has trained."""

    def finish(self):
        measured = super().finish()
        file = self.run.folder.with_name(f"{self.run.folder.name}-{self.accelerator.process_index}.json")
        moments = self.optimizers["model"].state.values()
        parts = {
            "weights": self.modules["model"].parameters(),
            "first moments": [values["exp_avg"] for values in moments],
            "second moments": [values["exp_avg_sq"] for values in moments],
            "average": self.average.module.parameters() if self.average else (),
        }
        held = {name: _held(tensors) for name, tensors in parts.items()}
        file.write_text(json.dumps({"held": held, "saved": _saved(self)}))
        return measured


def _saved(trainer):
    """Bytes that the forward pass of one image keeps for the backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        losses = trainer.modules["model"](*trainer.task.example(1))
    storages = [x.untyped_storage() for x in kept]
    assert losses
    return sum({each.data_ptr(): each.nbytes() for each in storages}.values())


def _held(tensors):
    from torch.distributed.tensor import DTensor  # takes a second

    return sum((x.to_local() if isinstance(x, DTensor) else x).numel() for x in tensors)
