"""A run that was stopped or killed and resumed ends with the bytes of one that nothing disturbed.

Every kind of codebook, without and with a discriminator, as a tokenizer and as a generator on its tokens, on
one process and on two that are connected by gloo.
"""

import hashlib
import json
import random
import signal
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.reliability.sittings import SURVIVAL, End, Stop, prepare, sitting
from tests.reliability.trials import Part, Trial
from vqcli import files
from vqcli.config import merged
from vqcli.jobs.options import TrainOptions

STEPS = 6
STOPS = (1, 2, 3, 5, 6)
"""Steps at which a signal comes: between checkpoints and at one, where is measured, and after the last."""
KILLS = 3
BOOKS: dict[str, dict[str, Any]] = {
    "learned": {"name": "learned", "size": 16, "width": 8, "init": "normal"},
    "ema": {"name": "ema", "size": 16, "width": 8, "kmeans": 2, "revive_below": 0.1},
    "bridged": {"name": "bridged", "size": 16, "width": 8, "hidden": 16, "patch": 2, "depth": 1},
    "projected": {"name": "projected", "size": 16, "width": 8, "base_width": 12},
}
TRAINING = {
    "steps": STEPS,
    "batch_size": 4,
    "average": 0.9,
    "log_every": 2,
    "sample_every": 4,
    "validate_every": 3,
    "validation_images": 4,
    "checkpoint_every": 2,
    "keep": 1,
}
DATA = {"source": "demo:20", "size": 8, "num_workers": 0, "holdout": 0.3}
TOKENIZER: dict[str, Any] = {
    "task": "tokenizer",
    "data": DATA | {"augment": "crop-flip"},
    "tokenizer": {
        "name": "conv",
        "network": "tiny",
        "multipliers": [1, 1],
        "attention_levels": [],
        "quantizer": {"name": "nearest"},
    },
    "losses": {"l2": 1.0},
    "optimizer": {"lr": 1e-3},
    "schedule": {"warmup": 2},
    "training": TRAINING,
}
GAN = {
    "discriminator": {"name": "patchgan", "layers": 1, "channels": 4},
    "disc_start": 1,
    "disc_warmup": 1,
    "ramp": 2,
    "adaptive": True,
    "lecam": 0.05,
}
GENERATOR: dict[str, Any] = {
    "task": "generator",
    "data": {**DATA, "augment": "none"},
    "generator": {"name": "gpt", "classes": 10, "layers": 1, "heads": 2, "width": 16, "ffn_multiple": 8},
    "optimizer": {"name": "adamw", "lr": 1e-2},
    "training": TRAINING,
}
Kind = tuple[str, bool, str, int]
"""Codebook, whether there is a discriminator, what is trained, processes."""
KINDS: list[Kind] = list(product(BOOKS, (False, True), ("tokenizer", "generator"), (1, 2)))


def named(kind: Kind) -> str:
    book, gan, task, processes = kind
    return f"{book}{'-gan' if gan else ''}-{task}-{processes}"


class Resumes(Part):
    """Runs that were stopped at a step, or killed while they wrote."""

    name, figure, goal, share = "resumes", "bit-equal resumes", 200, 4

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        whole = Whole(base / "resumes")
        for kind in random.Random(seed).sample(KINDS, len(KINDS)):  # of which a share has the first
            chance = random.Random(f"{seed} {named(kind)}")
            for step in STOPS:
                stop = Stop(chance.randrange(kind[3]), step=step)
                yield Trial(f"{named(kind)}/stop/{step}", partial(resumed, whole, kind, [stop]))
            for n in range(KILLS):
                rank, moments = chance.randrange(kind[3]) if n else 0, [chance.random(), chance.random()]
                if rank:  # which writes nothing
                    stop = Stop(rank, chance.randrange(1, STEPS), signal.SIGKILL)
                    yield Trial(f"{named(kind)}/kill/{n}", partial(resumed, whole, kind, [stop]))
                else:
                    kills = partial(killed, whole, kind, moments[: 1 + n % 2])
                    yield Trial(f"{named(kind)}/kill/{n}", kills)


class Whole:
    """Undisturbed runs, each made when it is first asked for."""

    def __init__(self, base: Path) -> None:
        self.base, self.prepared = base, False

    def run(self, kind: Kind) -> Path:
        """The undisturbed run of a kind."""
        folder = self.base / named(kind)
        if not self.prepared:
            self.prepare()
        if not (folder / "done").exists():
            folder.mkdir(parents=True, exist_ok=True)
            ends = sitting(self.options(kind, folder / "run"), folder, kind[3])
            assert [end.code for end in ends] == [0] * kind[3], ends
            (folder / "done").touch()
        return folder / "run"

    def prepare(self) -> None:
        """Load what training loads."""
        self.prepared = True
        with TemporaryDirectory() as folder:
            prepare(self.options(KINDS[4], Path(folder) / "run"), Path(folder))

    def moments(self, kind: Kind) -> int:
        """In how many moments of writing an undisturbed run of a kind can be killed."""
        said = (self.run(kind).parent / "said-0").read_text()
        return int(said.partition("\n")[0].removeprefix("moments "))

    def options(self, kind: Kind, run: Path) -> TrainOptions:
        """A new run of a kind; its recipe lies beside the undisturbed one."""
        book, gan, task, _ = kind
        recipe = self.base / named(kind) / "recipe.yaml"
        if not recipe.exists():
            recipe.parent.mkdir(parents=True, exist_ok=True)
            keys = merged(
                TOKENIZER, {"tokenizer": {"codebook": BOOKS[book]}} | ({"adversarial": GAN} if gan else {})
            )
            if task == "generator":
                keys = GENERATOR | {"tokenizer": str(self.run((book, gan, "tokenizer", 1)) / "model")}
            recipe.write_text(yaml.safe_dump(keys))
        return TrainOptions(str(recipe), run, device="cpu")


def again(whole: Whole, kind: Kind, run: Path) -> TrainOptions:
    """What goes on with a run: the same command where there is none yet."""
    if (run / "recipe.yaml").exists():
        return TrainOptions(None, run, resume=True, device="cpu")
    return whole.options(kind, run)


def killed(whole: Whole, kind: Kind, moments: list[float], folder: Path) -> str:
    """Kill the process that writes at these shares of all its moments, then go on."""
    stops = [Stop(moment=int(share * whole.moments(kind))) for share in moments]
    return resumed(whole, kind, stops, folder)


def resumed(whole: Whole, kind: Kind, stops: list[Stop], folder: Path) -> str:
    """Stop a run, go on to its end, and compare it with one that nothing stopped."""
    undisturbed, run = content(whole.run(kind)), folder / "run"
    for stop in stops:
        ends = sitting(again(whole, kind, run), folder, kind[3], stop)
        if wrong := misbehaved(ends, stop):
            return wrong
    ends = sitting(again(whole, kind, run), folder, kind[3])
    if [end.code for end in ends] != [0] * kind[3]:
        return f"it did not go on: {ends}"
    if left := [path.name for path in run.rglob(f"{files.TEMPORARY}*")]:
        return f"left behind: {left}"
    found = content(run)
    other = sorted(name for name in {*found, *undisturbed} if found.get(name) != undisturbed.get(name))
    return f"not the bytes of the undisturbed run: {', '.join(other)}" if other else ""


def misbehaved(ends: list[End], stop: Stop) -> str:
    """What is wrong with how processes ended of which one was stopped; two that were through may end well."""
    kill = stop.moment is not None or stop.number == signal.SIGKILL
    for rank, end in enumerate(ends):
        codes = {0, -signal.SIGKILL} if rank == stop.rank else {0, 1}
        if end.code not in (codes if kill else {128 + stop.number}):
            return f"process {rank} ended with {end.code}: {end.said}"
        if end.said.startswith("internal") or "Traceback" in end.said:
            return f"process {rank}: {end.said}"
        if end.seconds > SURVIVAL:
            return f"process {rank} ended {end.seconds:.0f} s after the other: {end.said}"
    return ""


TIMED = ("images_per_second", "seconds", "sittings", "seal", "crc32")
"""What tells of the clock, or is made of what does."""


def content(run: Path) -> dict[str, str]:
    """Every file that a run leaves, by its name: its hash, without what the clock decides."""
    paths = [path for path in run.rglob("*") if path.is_file() and path.name not in (".lock", "curves.svg")]
    return {str(path.relative_to(run)): hashlib.sha256(_timeless(path)).hexdigest() for path in paths}


def _timeless(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name == "metrics.jsonl":
        lines = [json.loads(line) for line in data.splitlines()]
        return json.dumps([{k: v for k, v in line.items() if k not in TIMED} for line in lines]).encode()
    if path.name == "state.json":
        return json.dumps({k: v for k, v in json.loads(data).items() if k not in TIMED}).encode()
    if path.name == "manifest.json" and path.parent.parent.name == "checkpoints":
        listed = json.loads(data)["files"]
        return json.dumps({k: v for k, v in listed.items() if k != "state.json"}).encode()
    return data
