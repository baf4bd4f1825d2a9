"""Generators trained by all processes of one launch: ``torchrun spread.py FOLDER RUNS``.

``RUNS`` is JSON, a list of ``[name, settings, options]``; each goes to ``FOLDER/name``, and what a process held of
it to ``FOLDER/name-RANK.json``.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from tests.training.tiny import Recorded
from vqcli.errors import Interrupted
from vqcli.jobs import train as job
from vqcli.training.loop import Trainer


def local(tensors):
    """Numbers that this process holds."""
    return sum(x.to_local().numel() if isinstance(x, DTensor) else x.numel() for x in tensors)


class Watched(Trainer):
    """A trainer that writes down what its process holds, when it has trained."""

    held: Path

    def finish(self):
        measured = super().finish()
        model, optimizer = self.modules["model"], self.optimizers["model"]
        held = {
            "weights": local(model.parameters()),
            "moments": local(state["exp_avg"] for state in optimizer.state.values()),
            "unlike": len({type(p).__name__ for p in model.parameters()}),
            "measured": measured,
        }
        self.held.with_name(f"{self.held.name}-{self.accelerator.process_index}.json").write_text(
            json.dumps(held)
        )
        return measured


def main(folder, runs):
    torch.set_num_threads(1)
    job.Trainer = Watched
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))  # the launcher's
    for number, (name, settings, options) in enumerate(runs):
        dist.init_process_group("gloo", store=dist.PrefixStore(str(number), store), rank=rank, world_size=world)
        Watched.held = folder / name
        progress = Recorded(stop_at=options.pop("stop_at", None))
        recipe = None if options.get("resume") else str(folder / "gpt.yaml")
        asked = job.TrainOptions(recipe, folder / name, settings=settings, device="cpu", **options)
        try:
            job.train(asked, progress)
        except Interrupted as e:
            print(name, e, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
