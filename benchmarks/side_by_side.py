"""What all benchmarks share: rivals take turns in one process, medians count, and a neighbour can be busy.

    with neighbour(busy):
        found = race({"vqcli": ours, "published": theirs}, repeats=5)

Processor seconds are those of all threads of the process, wall seconds those of a clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch


class Seconds(NamedTuple):
    """Medians of a rival."""

    processor: float
    wall: float


def race(
    rivals: Mapping[str, Callable[[], object]], repeats: int = 5, device: str = "cpu"
) -> dict[str, Seconds]:
    """Each rival in turn, so often, after one turn that does not count. It ends when the device is done."""
    seen: dict[str, list[Seconds]] = {name: [] for name in rivals}
    for turn in range(repeats + 1):
        for name, run in rivals.items():
            processor, wall = time.process_time(), time.perf_counter()
            run()
            if device != "cpu":
                torch.accelerator.synchronize()
            spent = Seconds(time.process_time() - processor, time.perf_counter() - wall)
            if turn:
                seen[name].append(spent)
    return {name: Seconds(*map(statistics.median, zip(*spent))) for name, spent in seen.items()}


def against(found: Mapping[str, Seconds], ours: str = "vqcli") -> dict[str, dict[str, float]]:
    """Seconds of each, and theirs over ours: above 1 we are faster."""
    mine = found[ours]
    return {
        name: {
            "processor": spent.processor,
            "wall": spent.wall,
            "processor_ratio": spent.processor / mine.processor,
            "wall_ratio": spent.wall / mine.wall,
        }
        for name, spent in found.items()
    }


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """Inside, another process keeps one core busy, where that is wanted."""
    if not busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def about(options: argparse.Namespace) -> dict[str, Any]:
    """What a result is of: machine, versions, threads, options."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    device = getattr(options, "device", "cpu")
    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "machine": f"{model}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "options": {name: value for name, value in vars(options).items() if name not in ("out", "json")},
    }


def parser(doc: str | None) -> argparse.ArgumentParser:
    """With the options that all benchmarks have."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    made.add_argument("--repeats", type=int, default=5, help="turns of each; medians count")
    made.add_argument("--busy", action="store_true", help="with another process that keeps one core busy")
    made.add_argument("--out", type=Path, help="write JSON there")
    return made


def report(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print a line for each row and rival, and write all of it where that is wanted."""
    for row in rows:
        print(row["what"])
        for name, spent in row["rivals"].items():
            print(
                f"  {name:<28} {spent['processor']:9.4f} s of processors ({spent['processor_ratio']:5.2f}x)"
                f" {spent['wall']:9.4f} s ({spent['wall_ratio']:5.2f}x)"
            )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({**about(options), "rows": rows}, indent=2) + "\n")
