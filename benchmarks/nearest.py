"""Nearest-code search against the published expression, ``torch.cdist``, the matrix product alone, and, where
they are installed, faiss and vector-quantize-pytorch.

    python benchmarks/nearest.py
    python benchmarks/nearest.py --vectors 4096 --codes 1024 16384 262144 --widths 8 64 256 --busy
    python benchmarks/nearest.py --device cuda --vectors 32768
    python benchmarks/nearest.py --memory

All take turns in one process on the same vectors; rivals that hold (N, K) get blocks of vectors that hold
256 MiB at most. On a GPU the ways of the search are rivals too: blocks, and both forms of Triton's kernel;
the limits in ``vqcli/nn/nearest.py`` are to be set by what it tells. With --memory each runs in a process of
its own, and its peak above the inputs is told.
Shape letters: N vectors, K codes, D width.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from benchmarks.side_by_side import against, neighbour, parser, race, report
from vqcli.nn.fast import ENVIRONMENT
from vqcli.nn.nearest import MEMORY, nearest_codes, way

MOST = 64 << 20
"""Costs that a rival holds at once."""


def published(z_nd: Tensor, codes_kd: Tensor) -> Tensor:
    """The expression in the published tokenizers' code; holds (N, K) several times."""
    cost_nk = (z_nd**2).sum(1, keepdim=True) + (codes_kd**2).sum(1) - 2 * z_nd @ codes_kd.T
    return cost_nk.argmin(1)


def cdist(z_nd: Tensor, codes_kd: Tensor) -> Tensor:
    """Torch's distances; holds (N, K)."""
    return torch.cdist(z_nd, codes_kd).argmin(1)


def product(z_nd: Tensor, codes_kd: Tensor) -> Tensor:
    """No search: the product that any search of this form needs, into memory that is there already."""
    out = z_nd.new_empty(len(codes_kd), min(len(z_nd), 512))
    for z in z_nd.split(512):
        torch.mm(codes_kd, z.T, out=out[:, : len(z)]) if len(z) == 512 else codes_kd @ z.T
    return torch.zeros(0, dtype=torch.int64)


def faiss_flat(z_nd: Tensor, codes_kd: Tensor) -> Tensor:
    """faiss's exact index."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatL2(codes_kd.shape[1])
    index.add(codes_kd.numpy())
    return torch.from_numpy(index.search(z_nd.numpy(), 1)[1][:, 0])


def lucidrains(z_nd: Tensor, codes_kd: Tensor) -> Tensor:
    """The distances of vector-quantize-pytorch; holds (N, K)."""
    from vector_quantize_pytorch.vector_quantize_pytorch import cdist as distances

    return distances(z_nd[None], codes_kd[None])[0].argmin(1)


def in_blocks(method: Callable[[Tensor, Tensor], Tensor], z_nd: Tensor, codes_kd: Tensor) -> Tensor:
    """A rival on as many vectors at a time as memory is meant for."""
    return torch.cat([method(z, codes_kd) for z in z_nd.split(max(1, MOST // len(codes_kd)))])


def in_torch(z_nd: Tensor, codes_kd: Tensor) -> Tensor:
    """Ours without compiled code."""
    before = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = "never"
    try:
        return nearest_codes(z_nd, codes_kd)
    finally:
        os.environ.pop(ENVIRONMENT) if before is None else os.environ.update({ENVIRONMENT: before})


def fused(form: Any, z_nd: Tensor, codes_kd: Tensor) -> Tensor:
    """One form of Triton's kernel, whether or not it is taken for such codes."""
    from vqcli.nn.nearest_fused import search

    tokens_n = torch.empty(len(z_nd), dtype=torch.int64, device=z_nd.device)
    search(form, z_nd, codes_kd, "l2", MEMORY, tokens_n)
    return tokens_n


METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "vqcli": nearest_codes,
    "published": partial(in_blocks, published),
    "cdist": partial(in_blocks, cdist),
    "product alone": product,
}
OTHERS: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "faiss": ("faiss", faiss_flat),
    "vector-quantize-pytorch": ("vector_quantize_pytorch", partial(in_blocks, lucidrains)),
}
METHODS |= {name: run for name, (module, run) in OTHERS.items() if importlib.util.find_spec(module)}
ON_GPU = {name: run for name, run in METHODS.items() if name != "faiss"} | {
    "vqcli, torch": in_torch,
    "vqcli, fp32": partial(fused, "fp32"),
    "vqcli, bf16x3": partial(fused, "bf16x3"),
}


def inputs(n: int, k: int, d: int) -> tuple[Tensor, Tensor]:
    """The same vectors and codes in every process."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=generator), torch.randn(k, d, generator=generator)


def compare(n: int, k: int, d: int, repeats: int, device: str) -> dict[str, Any]:
    """Seconds of every method, and how many tokens are others than ours."""
    z_nd, codes_kd = pair = [x.to(device) for x in inputs(n, k, d)]
    methods = METHODS if device == "cpu" else ON_GPU
    found = race({name: partial(method, *pair) for name, method in methods.items()}, repeats, device)
    own = nearest_codes(z_nd, codes_kd)
    others = {name: method(*pair) for name, method in methods.items() if name != "product alone"}
    return {
        "what": f"N={n:,} K={k:,} D={d}",
        "way": way(k, d, z_nd.device),
        "rivals": against(found),
        "mismatches": {name: int((tokens != own).sum()) for name, tokens in others.items()},
    }


def peak(method: str, shape: list[int]) -> int:
    """Bytes of memory that one method takes at most, beside its arguments."""
    pair = inputs(*shape)
    METHODS[method](pair[0][:64], pair[1][:64])  # loads libraries before memory is read
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    METHODS[method](*pair)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit


def memory(shape: list[int]) -> dict[str, Any]:
    """The peak of every method, each in a fresh process."""
    peaks = {}
    for name in METHODS:
        command = [sys.executable, __file__, "--child", name, *map(str, shape)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[name] = json.loads(done.stdout)
        print(f"N={shape[0]:,} K={shape[1]:,} D={shape[2]}  {name:<24} {peaks[name] / 2**20:9.1f} MiB")
    return {"what": "N={:,} K={:,} D={}".format(*shape), "peak_bytes": peaks}


def main() -> None:
    """Measure every shape with every method."""
    arguments = parser(__doc__)
    arguments.add_argument("--vectors", type=int, default=4096, help="N; 1,024 where K is above 100,000")
    arguments.add_argument("--codes", type=int, nargs="+", default=[1024, 16384, 262144], help="K")
    arguments.add_argument("--widths", type=int, nargs="+", default=[8, 64, 256], help="D")
    arguments.add_argument("--device", default="cpu", help="cuda: a GPU")
    arguments.add_argument("--memory", action="store_true", help="peaks instead of seconds")
    arguments.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        print(peak(options.child[0], [int(x) for x in options.child[1:]]))
        return
    shapes = [
        [min(options.vectors, 1024) if k > 100_000 else options.vectors, k, d]
        for d in options.widths
        for k in options.codes
    ]
    if options.memory and options.device != "cpu":
        arguments.error("--memory reads the memory of processes on a CPU")
    if options.memory:
        rows = [memory(shape) for shape in shapes]
        if options.out:
            options.out.write_text(json.dumps(rows, indent=2) + "\n")
        return
    with neighbour(options.busy):
        report(options, [compare(*shape, options.repeats, options.device) for shape in shapes])


if __name__ == "__main__":
    main()
