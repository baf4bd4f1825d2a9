"""Nearest-code search against the published expression and ``torch.cdist``, each in a process of its own.

Measure on an idle machine: threads that share cores with other work wait for each other at every block.

    python benchmarks/nearest.py
    python benchmarks/nearest.py --vectors 4096 --codes 1024 16384 262144 --widths 8 256 --json

Shape letters: N vectors, K codes, D width.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from vqcli.nn.nearest import nearest_codes


def published(z_nd: Tensor, codes_kd: Tensor) -> Tensor:
    """The expression in the published tokenizers' code; holds (N, K) several times."""
    cost_nk = (z_nd**2).sum(1, keepdim=True) + (codes_kd**2).sum(1) - 2 * z_nd @ codes_kd.T
    return cost_nk.argmin(1)


def cdist(z_nd: Tensor, codes_kd: Tensor) -> Tensor:
    """Torch's distances; holds (N, K)."""
    return torch.cdist(z_nd, codes_kd).argmin(1)


METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "vqcli": nearest_codes,
    "published": published,
    "cdist": cdist,
}


def inputs(n: int, k: int, d: int, device: str) -> tuple[Tensor, Tensor]:
    """The same vectors and codes in every process."""
    generator = torch.Generator().manual_seed(0)
    pair = torch.randn(n, d, generator=generator), torch.randn(k, d, generator=generator)
    return pair[0].to(device), pair[1].to(device)


def resident() -> int:
    """Most bytes of memory this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(method: str, shape: list[int], device: str, repeats: int) -> dict[str, Any]:
    """Best seconds, peak memory above the inputs', and the tokens."""
    z_nd, codes_kd = inputs(*shape, device)
    torch.mm(z_nd[:64], codes_kd[:64].T)  # loads the matrix library before memory is read
    cuda = device.startswith("cuda")
    before = torch.cuda.memory_allocated() if cuda else resident()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        tokens_n = METHODS[method](z_nd, codes_kd)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = (torch.cuda.max_memory_allocated() if cuda else resident()) - before
    return {"seconds": min(seconds), "peak_bytes": peak, "tokens": tokens_n.tolist()}


def in_child(method: str, shape: list[int], options: argparse.Namespace) -> dict[str, Any]:
    """``measure`` in a fresh process, where peak memory is the method's own."""
    arguments = [method, *map(str, shape), "--device", options.device, "--repeats", str(options.repeats)]
    done = subprocess.run([sys.executable, __file__, "--child", *arguments], capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    return json.loads(done.stdout)


def compare(shape: list[int], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a method; ratio and mismatches are against ``vqcli``."""
    rows = []
    results = {method: in_child(method, shape, options) for method in METHODS}
    tokens = {method: result.pop("tokens", []) for method, result in results.items()}
    for method, result in results.items():
        row = dict(zip(("N", "K", "D"), shape)) | {"method": method} | result
        if "failed" not in result:
            row["ratio"] = result["seconds"] / results["vqcli"]["seconds"]
            row["mismatches"] = sum(a != b for a, b in zip(tokens[method], tokens["vqcli"]))
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """A table on stdout."""
    print("      N       K    D  method      seconds  ratio  peak MiB mismatches")
    for row in rows:
        start = f"{row['N']:>7} {row['K']:>7} {row['D']:>4}  {row['method']:<10}"
        if "failed" in row:
            print(f"{start} {row['failed']}")
        else:
            peak = row["peak_bytes"] / 2**20
            print(f"{start} {row['seconds']:8.4f} {row['ratio']:6.2f} {peak:9.1f} {row['mismatches']:>10}")


def main() -> None:
    """Measure every shape with every method."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--vectors", type=int, nargs="+", default=[4096], help="N")
    parser.add_argument("--codes", type=int, nargs="+", default=[1024, 16384, 262144], help="K")
    parser.add_argument("--widths", type=int, nargs="+", default=[8], help="D")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3, help="the best one counts")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        method, *shape = options.child
        print(json.dumps(measure(method, [int(x) for x in shape], options.device, options.repeats)))
        return
    shapes = [[n, k, d] for n in options.vectors for k in options.codes for d in options.widths]
    rows = [row for shape in shapes for row in compare(shape, options)]
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
