"""What the benchmarks of whole commands share: models, and rivals that run in processes of their own.

How memory is kept is decided once in the life of a process: rivals that keep it otherwise cannot share one.
Each turn of each rival is a fresh process, which tells two spans: of the work alone, and with what it opens
before and puts together behind. What is imported is in neither.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.side_by_side import Seconds, against, neighbour, report
from vqcli.checkpoint.tokenizer import save_tokenizer
from vqcli.registry import build
from vqcli.training.recipe import read_recipe
from vqcli.types import Progress

SPANS = {"work": "without opening the model", "all": "with opening the model"}
"""What is measured of a turn; imports are in neither."""


def make_model(recipe: str, folder: Path) -> tuple[int, int]:
    """A model folder with a recipe's network and random weights; (height, width) of its images."""
    found = read_recipe(recipe, [], None)
    torch.manual_seed(0)
    tokenizer = build("tokenizers", found.tokenizer)
    for weight in tokenizer.quantizer.parameters():
        if not weight.any():  # a codebook that begins at 0 would have one code
            torch.nn.init.normal_(weight, std=0.02)
    tokenizer.image_size = found.data.height_width
    folder.mkdir(parents=True)
    save_tokenizer(tokenizer, folder)
    return tokenizer.image_size


class Clock(Progress):
    """When work began, and when the last of it was done: processor seconds, children's too, and wall."""

    def __init__(self, what: str) -> None:
        self.what, self.start_ = what, now()
        self.began = self.last = self.start_

    def start(self, what: str, total: int | None, unit: str, done: int = 0) -> None:
        if what == self.what:
            self.began = now()

    def advance(self, n: int = 1) -> None:
        self.last = now()

    def show(self, **numbers: Any) -> None: ...

    def say(self, text: str) -> None: ...

    def told(self, ended: Seconds | None = None) -> dict[str, Seconds]:
        """Both spans; work ends at ``ended``, else now."""
        end = now()
        return {"work": since(self.began, ended or end), "all": since(self.start_, end)}


def now() -> Seconds:
    """Of this process and of children that have ended, so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Seconds(sum(each.ru_utime + each.ru_stime for each in used), time.perf_counter())


def since(start: Seconds, end: Seconds) -> Seconds:
    """From one time to another."""
    return Seconds(end.processor - start.processor, end.wall - start.wall)


def race_in_children(
    script: str, rivals: Sequence[str], arguments: dict[str, Any], options: argparse.Namespace
) -> dict[str, list[dict[str, Any]]]:
    """What every turn of each rival told, rivals taking turns."""
    seen: dict[str, list[dict[str, Any]]] = {name: [] for name in rivals}
    env = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    for _ in range(options.repeats):
        for name in rivals:
            asked = json.dumps(arguments | {"rival": name, "threads": options.threads})
            command = [sys.executable, script, "--child", asked]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
            seen[name].append(json.loads(done.stdout.splitlines()[-1]))
    return seen


def rows(what: str, seen: dict[str, list[dict[str, Any]]], **more: Any) -> list[dict[str, Any]]:
    """A row for each span: medians of all turns, and the peak of memory."""
    peaks = {name: max(turn["peak_mb"] for turn in turns) for name, turns in seen.items()}
    made = []
    for span, title in SPANS.items():
        found = {
            name: Seconds(*map(statistics.median, zip(*(turn[span] for turn in turns))))
            for name, turns in seen.items()
        }
        made.append({"what": f"{what}, {title}", "rivals": against(found), "peak_mb": peaks, **more})
    return made


def main_of(
    arguments: argparse.ArgumentParser,
    rivals: dict[str, Callable[..., dict[str, Seconds]]],
    compare: Callable[[str, argparse.Namespace], list[dict[str, Any]]],
    models: Sequence[str],
) -> None:
    """Measure and report the rows of every model, or be the child that runs one turn."""
    arguments.add_argument("--models", nargs="+", default=list(models), help="recipes")
    arguments.add_argument("--quick", action="store_true", help="see whether it runs: 4 images")
    arguments.add_argument("--child", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        child(rivals, options.child)
        return
    with neighbour(options.busy):
        report(options, [row for model in options.models for row in compare(model, options)])


def child(rivals: dict[str, Callable[..., dict[str, Seconds]]], asked: str) -> None:
    """Run one turn and print what it told."""
    given = json.loads(asked)
    torch.set_num_threads(given.pop("threads"))
    told = rivals[given.pop("rival")](**given)
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    print(json.dumps(told | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}))
