"""What waiting asleep gains beside a busy process, and what it costs on an idle machine.

    python benchmarks/threads.py
    python benchmarks/threads.py --busy

A rival is a process of its own, since OpenMP reads its settings once: as vqcli starts it, and as OpenMP
starts by itself (300,000 rounds awake). They take turns; medians count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable

import torch
from side_by_side import Seconds, against, neighbour, parser, race, report
from torch import Tensor, nn

from vqcli.cores import SPINNING, THREADS, WAITING, settle_threads

Work = Callable[[], object]


def main() -> None:
    """Measure both, or be the process that is measured."""
    made = parser(__doc__)
    made.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.worker:
        print(json.dumps({name: race({name: work()}, 15)[name] for name, work in WORKS.items()}))
        return
    seen: dict[str, list[dict[str, Seconds]]] = {"vqcli": [], "threads that wait awake": []}
    with neighbour(options.busy):
        for _ in range(options.repeats):
            for name, found in seen.items():
                found.append(measured(options.threads, asleep=name == "vqcli"))
    rows = []
    for work in WORKS:
        turns = {name: [one[work] for one in found] for name, found in seen.items()}
        medians = {name: Seconds(*map(statistics.median, zip(*spent))) for name, spent in turns.items()}
        rows.append({"what": work, "rivals": against(medians)})
    report(options, rows)


def measured(threads: int, *, asleep: bool) -> dict[str, Seconds]:
    """Time of each work, in a new process."""
    environment = {name: text for name, text in os.environ.items() if name not in (SPINNING, WAITING)}
    environment[THREADS] = str(threads)
    if asleep:
        settle_threads(environment)
    else:
        environment[SPINNING] = "300000"
    done = subprocess.run(
        [sys.executable, __file__, "--worker"], env=environment, stdout=subprocess.PIPE, check=True
    )
    return {name: Seconds(*spent) for name, spent in json.loads(done.stdout).items()}


def training() -> Work:
    """A step of a small convolutional autoencoder, 32 images of 32x32."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1)]
    for _ in range(4):
        layers += [nn.GroupNorm(32, 64), nn.SiLU(), nn.Conv2d(64, 64, 3, padding=1)]
    net, images = nn.Sequential(*layers, nn.Conv2d(64, 3, 3, padding=1)), torch.randn(32, 3, 32, 32)
    optimizer = torch.optim.Adam(net.parameters())

    def step() -> None:
        optimizer.zero_grad()
        (net(images) - images).square().mean().backward()
        optimizer.step()

    return step


def generation() -> Work:
    """The linear maps of a GPT-B step, 16 rows."""
    from vqcli.nn.linear import Linear

    sides = ((768, 2304), (768, 768), (768, 2048), (768, 2048), (2048, 768))
    maps = [Linear(wide, out, bias=False) for _ in range(12) for wide, out in sides]
    inputs = {wide: torch.randn(16, wide) for wide in (768, 2048)}

    @torch.no_grad()
    def step() -> list[Tensor]:
        return [one(inputs[one.in_features]) for one in maps]

    return step


def search(width: int, n: int) -> Callable[[], Work]:
    """Nearest of 16,384 codes for n vectors."""

    def made() -> Work:
        from vqcli.nn.nearest import nearest_codes

        vectors, codes = torch.randn(n, width), torch.randn(16384, width)
        return lambda: nearest_codes(vectors, codes)

    return made


WORKS: dict[str, Callable[[], Work]] = {
    "training step of a small autoencoder": training,
    "linear maps of GPT-B, 16 rows": generation,
    "nearest of 16,384 codes of 8, 4,096 vectors": search(8, 4096),
    "nearest of 16,384 codes of 64, 1,024 vectors": search(64, 1024),
}

if __name__ == "__main__":
    main()
