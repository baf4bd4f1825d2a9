"""A run that takes a second: one recipe, ways to start and to stop it, and what it left."""

import json
import os
import signal
import sys
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from vqcli import files
from vqcli.jobs.train import TrainOptions, train
from vqcli.library.references import newest_checkpoint

RECIPE = {
    "task": "tokenizer",
    "data": {"source": "demo:64", "size": 8, "augment": "crop-flip", "num_workers": 0},
    "tokenizer": {
        "name": "conv",
        "network": "tiny",
        "codebook": {"name": "bridged", "size": 16, "width": 8, "hidden": 16, "patch": 2, "depth": 1},
        "quantizer": {"name": "nearest"},
    },
    "losses": {"l2": 1.0},
    "optimizer": {"lr": 1e-3},
    "schedule": {"warmup": 2},
    "training": {
        "steps": 8,
        "batch_size": 16,
        "log_every": 2,
        "sample_every": 100,
        "validate_every": 3,
        "validation_images": 8,
        "checkpoint_every": 4,
    },
}
"""Four steps an epoch."""

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
COMMAND = [sys.executable, "-m", "vqcli", "train"]


class Recorded:
    """Progress that keeps what it is told, and sends a signal to this very process at a step."""

    def __init__(self, stop_at=None):
        self.stop_at, self.steps, self.said = stop_at, 0, []

    def start(self, what, total, unit, done=0):
        self.steps = done

    def advance(self, n=1):
        self.steps += n
        if self.steps == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def show(self, **numbers): ...

    def say(self, text):
        self.said.append(text)


def write_recipe(folder, name="tiny"):
    path = Path(folder) / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def start(run, *settings, progress=None, **options):
    """Train the recipe into a new run folder, in this process."""
    torch.set_num_threads(1)
    path = str(write_recipe(run.parent))
    return train(
        TrainOptions(path, run, settings=list(settings), device="cpu", **options), progress or Recorded()
    )


def resume(run, *settings, progress=None, **options):
    asked = TrainOptions(None, run, resume=True, settings=list(settings), device="cpu", **options)
    return train(asked, progress or Recorded())


def metrics(run):
    """The lines of ``metrics.jsonl`` without what the clock says."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("images_per_second", "crc32")} for line in lines]


def tensors(run):
    """Every tensor of the newest checkpoint and of the exported model."""
    found = {}
    for folder in (newest_checkpoint(run), run / "model"):
        for path in sorted(folder.glob("*.safetensors")) if folder else ():
            found |= {f"{path.name} {name}": x for name, x in load_file(path).items()}
    return found


def assert_same(run, other):
    """Both runs left the same tensors, to the last bit, and the same metrics."""
    ours, theirs = tensors(run), tensors(other)
    assert set(ours) == set(theirs)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert metrics(run) == metrics(other)


def damage(path):
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def leftovers(run):
    return list(run.rglob(f"{files.TEMPORARY}*"))
