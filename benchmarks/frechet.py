"""The Fréchet distance and its statistics: seconds, error and memory, beside other ways to compute them.

Distances whose value is known: of covariances that commute, and of a set of few images from itself. The
rivals are the square root of the product of covariances (ADM's evaluator and pytorch-fid; where SciPy can be
imported) and the eigenvalues of that product (torch-fidelity). Then mean and covariance of vectors that come
in batches, beside ``torch.cov`` of all at once. Measure on an idle machine.

    python benchmarks/frechet.py
    python benchmarks/frechet.py --width 512 --vectors 2000 --threads 2 --json

Shape letters: N vectors, D width.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from vqcli.metrics.frechet import frechet_distance
from vqcli.metrics.moments import Moments

ALLOWED_DISTANCE, ALLOWED_MOMENTS = 1e-6, 1e-10
"""Error of a distance, as a share of the two traces; of a covariance, as a share of its largest entry."""

Statistics = tuple[Tensor, Tensor]


def by_eigenvalues(mean_a_d: Tensor, cov_a_dd: Tensor, mean_b_d: Tensor, cov_b_dd: Tensor) -> float:
    """The sum of the roots of the eigenvalues of the product."""
    shared = torch.linalg.eigvals(cov_a_dd @ cov_b_dd).sqrt().real.sum()
    return ((mean_a_d - mean_b_d).square().sum() + cov_a_dd.trace() + cov_b_dd.trace() - 2 * shared).item()


def by_root(mean_a_d: Tensor, cov_a_dd: Tensor, mean_b_d: Tensor, cov_b_dd: Tensor) -> float:
    """SciPy's square root of the product; its imaginary part is dropped."""
    from scipy.linalg import sqrtm

    shared = sqrtm((cov_a_dd @ cov_b_dd).numpy()).real.trace()
    return ((mean_a_d - mean_b_d).square().sum() + cov_a_dd.trace() + cov_b_dd.trace()).item() - 2 * shared


METHODS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], float]] = {
    "vqcli": frechet_distance,
    "eigenvalues": by_eigenvalues,
    "scipy sqrtm": by_root,
}


def batches(options: argparse.Namespace) -> Iterator[Tensor]:
    """Vectors (64, D) float32, of unequal spread and none below 0, as pooled features are."""
    generator, left = torch.Generator().manual_seed(0), options.vectors
    spread_d = 10 ** (-2 * torch.rand(options.width, generator=generator))
    while left > 0:
        yield (torch.randn(min(left, 64), options.width, generator=generator).add(0.5) * spread_d).relu()
        left -= 64


def commuting(width: int) -> tuple[Statistics, Statistics, float]:
    """Two Gaussians with the same axes, variances over eight decades, and their distance."""
    generator = torch.Generator().manual_seed(0)
    basis_dd = torch.linalg.qr(torch.randn(width, width, generator=generator).double()).Q
    means_2d = torch.rand(2, width, generator=generator).double() / width**0.5
    values_2d = 10 ** (-8 * torch.rand(2, width, generator=generator).double())
    a, b = ((mean_d, (basis_dd * value_d) @ basis_dd.T) for mean_d, value_d in zip(means_2d, values_2d))
    exact = (means_2d[0] - means_2d[1]).square().sum() + (
        values_2d[0].sqrt() - values_2d[1].sqrt()
    ).square().sum()
    return a, b, exact.item()


def few(width: int) -> tuple[Statistics, Statistics, float]:
    """A set of fewer images than the width, and the same in another order."""
    rows_nd = torch.randn(width // 7, width, generator=torch.Generator().manual_seed(0)).relu()
    a, b = Moments(), Moments()
    a.add(rows_nd)
    b.add(rows_nd.flip(0))
    return (a.mean, a.covariance), (b.mean, b.covariance), 0.0


def distances(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a case and method."""
    rows = []
    for case, (a, b, exact) in {"commuting": commuting(options.width), "few": few(options.width)}.items():
        for name, method in METHODS.items():
            start = time.perf_counter()
            try:
                found = method(*a, *b)
            except ImportError as e:
                print(f"{name}: {e}", file=sys.stderr)
                continue
            seconds = time.perf_counter() - start
            scale = (a[1].trace() + b[1].trace()).item()
            row = {"case": case, "method": name, "seconds": seconds, "exact": exact, "found": found}
            rows.append(row | {"error": abs(found - exact), "share": abs(found - exact) / scale})
    return rows


def streamed(options: argparse.Namespace) -> tuple[float, Tensor]:
    """Seconds and covariance of ``Moments``; what draws the vectors is not counted."""
    moments, seconds = Moments(), 0.0
    for batch_nd in batches(options):
        start = time.perf_counter()
        moments.add(batch_nd)
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    covariance_dd = moments.covariance
    return seconds + time.perf_counter() - start, covariance_dd


def at_once(options: argparse.Namespace) -> tuple[float, Tensor]:
    """The same of ``torch.cov``, in float64, of all vectors."""
    kept = list(batches(options))
    start = time.perf_counter()
    covariance_dd = torch.cov(torch.cat(kept).double().T)
    return time.perf_counter() - start, covariance_dd


def moments_row(method: str, options: argparse.Namespace) -> dict[str, Any]:
    """One way to get a covariance, in this process; its peak memory includes what the imports take."""
    torch.set_num_threads(options.threads)
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    seconds, covariance_dd = {"vqcli": streamed, "torch.cov": at_once}[method](options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {"method": method, "seconds": seconds, "peak_mb": peak, "covariance": covariance_dd.numpy()}


def moments(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a method, each measured in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        jobs = [(method, options) for method in ("torch.cov", "vqcli")]
        rows = pool.starmap(moments_row, jobs, chunksize=1)
    exact = rows[0]["covariance"]
    return [
        {**row, "share": float(abs(row.pop("covariance") - exact).max() / abs(exact).max())} for row in rows
    ]


def show(of_distance: list[dict[str, Any]], of_moments: list[dict[str, Any]]) -> None:
    """Two tables on stdout."""
    print("case        method        seconds        exact        found    error  of the traces")
    for row in of_distance:
        print(
            f"{row['case']:<11} {row['method']:<12} {row['seconds']:8.1f} {row['exact']:12.6f} "
            f"{row['found']:12.6f} {row['error']:8.1e} {row['share']:14.1e}"
        )
    print("\ncovariance    seconds  peak MB  error")
    for row in of_moments:
        print(f"{row['method']:<12} {row['seconds']:8.1f} {row['peak_mb']:8.0f} {row['share']:6.0e}")


def main() -> None:
    """Measure, and fail if an error of ours is larger than is allowed."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--width", type=int, default=2048, help="D")
    parser.add_argument("--vectors", type=int, default=10_000, help="N of mean and covariance")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    of_moments, of_distance = moments(options), distances(options)
    if options.json:
        print(json.dumps({"distances": of_distance, "moments": of_moments}, indent=2))
    else:
        show(of_distance, of_moments)
    if any(row["method"] == "vqcli" and row["share"] > ALLOWED_DISTANCE for row in of_distance):
        sys.exit(f"a distance is off by more than {ALLOWED_DISTANCE} of the traces")
    if any(row["share"] > ALLOWED_MOMENTS for row in of_moments):
        sys.exit(f"a covariance is off by more than {ALLOWED_MOMENTS}")


if __name__ == "__main__":
    main()
