"""A run that was stopped or killed and resumed ends with the bytes of one that nothing disturbed.

Every kind of codebook, without and with a discriminator, as a tokenizer and as a generator on its tokens, on
one process and on two that are connected by gloo.
"""

import random
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from tests.reliability import oracle
from tests.reliability.server import KILL, STEP, TORN, Ended, Fault, shared
from tests.reliability.trials import Part, Trial
from vqcli.config import merged

STEPS = 6
STOPS = (1, 2, 3, 5, 6)
"""Steps at which a signal comes: between checkpoints and at one, where is measured, and after the last."""
KILLS = 3
SURVIVAL = 30
"""Seconds in which a process ends after another one of its job has died."""
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

    def __init__(self) -> None:
        self.server, self.base = shared(), Path()

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        self.base = base / "resumes"
        for kind in random.Random(seed).sample(KINDS, len(KINDS)):  # of which a share has the first
            chance = random.Random(f"{seed} {named(kind)}")
            for step in STOPS:
                stop = Fault(step, STEP, signal.SIGTERM, rank=chance.randrange(kind[3]))
                yield Trial(f"{named(kind)}/stop/{step}", partial(self.resumed, kind, [stop]))
            for n in range(KILLS):
                rank, moments = chance.randrange(kind[3]) if n else 0, [chance.random(), chance.random()]
                if rank:  # which writes nothing
                    stop = Fault(chance.randrange(1, STEPS), STEP, signal.SIGKILL, rank=rank)
                    yield Trial(f"{named(kind)}/kill/{n}", partial(self.resumed, kind, [stop]))
                else:
                    yield Trial(f"{named(kind)}/kill/{n}", partial(self.killed, kind, moments[: 1 + n % 2]))

    def train(self, kind: Kind, stop: Fault | None = None) -> Ended:
        """Train a kind in ``run``, or go on with what is there."""
        begun = (self.server.place / "run" / "recipe.yaml").exists()
        words = ("--resume", "run") if begun else (str(self.recipe(kind)), "-o", "run")
        return self.server.run(("train", *words, "--device", "cpu"), fault=stop, processes=kind[3])

    def whole(self, kind: Kind) -> tuple[oracle.Tree, str]:
        """What the undisturbed run of a kind leaves, and how its first process comes to that; made once."""
        folder = self.base / named(kind)
        if not (folder / "kinds").exists():
            self.recipe(kind)
            place = self.server.fresh()
            ended = self.train(kind)
            assert not any(ended.codes), ended
            shutil.copytree(place / "run", folder / "run", dirs_exist_ok=True)
            (folder / "kinds").write_text(ended.kinds[0])
        return oracle.tree(folder / "run"), (folder / "kinds").read_text()

    def recipe(self, kind: Kind) -> Path:
        """The recipe of a kind; it lies beside the undisturbed run."""
        book, gan, task, _ = kind
        recipe = self.base / named(kind) / "recipe.yaml"
        if not recipe.exists():
            recipe.parent.mkdir(parents=True, exist_ok=True)
            keys = merged(
                TOKENIZER, {"tokenizer": {"codebook": BOOKS[book]}} | ({"adversarial": GAN} if gan else {})
            )
            if task == "generator":
                first = (book, gan, "tokenizer", 1)
                self.whole(first)
                keys = GENERATOR | {"tokenizer": str(self.base / named(first) / "run" / "model")}
            recipe.write_text(yaml.safe_dump(keys))
        return recipe

    def killed(self, kind: Kind, moments: list[float], folder: Path) -> str:
        """Kill the process that writes at these shares of all that it writes, then go on."""
        writes = [(n, k) for n, k in enumerate(self.whole(kind)[1], 1) if k in "cwsnum"]
        chosen = [writes[int(share * len(writes))] for share in moments]
        return self.resumed(kind, [Fault(n, TORN if k == "w" else KILL) for n, k in chosen], folder)

    def resumed(self, kind: Kind, stops: list[Fault], _: Path) -> str:
        """Stop a run, go on to its end, and compare it with one that nothing stopped."""
        undisturbed = self.whole(kind)[0]
        place = self.server.fresh()
        for stop in stops:
            if wrong := misbehaved(self.train(kind, stop), stop):
                return wrong
        ended = self.train(kind)
        if any(ended.codes):
            return f"it did not go on: {ended}"
        wrong = oracle.differs(oracle.tree(place / "run"), undisturbed)
        return f"not what the undisturbed run leaves: {wrong}" if wrong else ""


def misbehaved(ended: Ended, stop: Fault) -> str:
    """What is wrong with how processes ended of which one was stopped; two that were through may end well."""
    kill = stop.action != STEP or stop.number == signal.SIGKILL
    for rank, (code, said) in enumerate(zip(ended.codes, ended.said)):
        codes = {0, -signal.SIGKILL} if rank == stop.rank else {0, 1}
        if code not in (codes if kill else {128 + stop.number}):
            return f"process {rank} ended with {code}: {said[-600:]}"
        if (code == 1 or "Traceback" in said) and (wrong := oracle.told(said)):
            return f"process {rank}: {wrong}"
    late = max(ended.seconds) - min(ended.seconds)
    return f"a process ended {late:.0f} s after the other: {ended.said}" if late > SURVIVAL else ""
