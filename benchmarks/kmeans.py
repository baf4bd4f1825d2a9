"""``vqcli build-codebook`` on patches of pixels: minutes, memory, and the objective beside scikit-learn's.

First a subset of the vectors, the same for all, where scikit-learn can be imported. Then the whole job in a
process of its own. Measure on an idle machine.

    python benchmarks/kmeans.py 'cifar10/train-*.parquet'
    python benchmarks/kmeans.py 'cifar10/train-*.parquet' --codes 16384 --iterations 20 --threads 1 --json

Shape letters: N vectors, K codes, F width.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from vqcli.jobs.build_codebook import build_codebook
from vqcli.jobs.feature_shards import Extractor, FeatureShards
from vqcli.jobs.options import CodebookOptions, FeatureOptions
from vqcli.nn.kmeans import Clusters, KMeans, KMeansOptions, held, sampled
from vqcli.types import silent

ALLOWED = 1.01
"""Our objective on the subset, as a share of scikit-learn's."""


def ours(vectors_nf: Tensor, k: int, iterations: int) -> Tensor:
    """The job's k-means."""
    kmeans = KMeans(held(vectors_nf), KMeansOptions(k, iterations))
    clusters = kmeans.start()
    while not kmeans.finished(clusters):
        clusters = kmeans.step(clusters)
    return clusters.codes_kf


def theirs(vectors_nf: Tensor, k: int, iterations: int) -> Tensor:
    """Scikit-learn's k-means until it converges, from its own start."""
    from sklearn.cluster import KMeans as Rival

    return torch.from_numpy(
        Rival(k, n_init=1, random_state=0).fit(vectors_nf.float().numpy()).cluster_centers_
    )


def theirs_batches(vectors_nf: Tensor, k: int, iterations: int) -> Tensor:
    """Scikit-learn's mini-batch k-means, as it comes."""
    from sklearn.cluster import MiniBatchKMeans as Rival

    return torch.from_numpy(
        Rival(k, n_init=1, random_state=0).fit(vectors_nf.float().numpy()).cluster_centers_
    )


METHODS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "vqcli": ours,
    "sklearn KMeans": theirs,
    "sklearn MiniBatchKMeans": theirs_batches,
}


def source(options: argparse.Namespace) -> FeatureOptions:
    """The images, as patches of pixels."""
    return FeatureOptions(options.images, patch=options.patch, device=options.device, limit=options.limit)


def subset(options: argparse.Namespace) -> Tensor:
    """Some of the vectors, from all images their share."""
    with tempfile.TemporaryDirectory() as name:
        extractor = Extractor(source(options))
        work = FeatureShards(extractor, Path(name))
        work.do(range(work.shards), silent)
        return sampled(work.finish().everything(), options.subset, seed=1)


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a method and number of codes; the objective is measured by one function for all."""
    vectors_nf, rows = subset(options), []
    for k in options.subset_codes:
        judge = KMeans(held(vectors_nf), KMeansOptions(k))
        for method, function in METHODS.items():
            start = time.perf_counter()
            try:
                codes_kf = function(vectors_nf, k, options.iterations)
            except ImportError as e:
                print(f"{method}: {e}", file=sys.stderr)
                continue
            seconds = time.perf_counter() - start
            objective = judge.measure(Clusters(codes_kf.float(), []))
            row = {"N": len(vectors_nf), "K": k, "method": method, "seconds": seconds, "objective": objective}
            first = rows[-1]["first"] if rows and rows[-1]["K"] == k else objective
            rows.append(row | {"first": first, "share": first / objective})
    return rows


def build(options: argparse.Namespace) -> dict[str, Any]:
    """The job in this process: seconds by the clock and of the processor, peak MB."""
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        wanted = CodebookOptions(source(options), options.codes, iterations=options.iterations)
        result = build_codebook(wanted, Path(name) / "f.safetensors")
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    return {
        "images": result.images,
        "N": result.vectors,
        "K": result.codes,
        "F": result.width,
        "iterations": result.iterations,
        "seconds": result.seconds,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / unit,
        "objective": result.objective,
    }


def show(rows: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    """Two tables on stdout."""
    print("        N      K  method                    seconds  objective  vqcli's as a share")
    for row in rows:
        start = f"{row['N']:>9,} {row['K']:>6,}  {row['method']:<24}"
        print(f"{start} {row['seconds']:8.1f} {row['objective']:10.5f} {row['share']:8.4f}")
    print("\n  images          N      K  iterations  minutes  processor  peak MB  objective")
    print(
        f"{whole['images']:>8,} {whole['N']:>10,} {whole['K']:>6,} {whole['iterations']:>11} "
        f"{whole['seconds'] / 60:8.1f} {whole['processor_seconds'] / 60:10.1f} {whole['peak_mb']:8.0f} "
        f"{whole['objective']:10.5f}"
    )


def main() -> None:
    """Measure, and fail if the objective is worse than scikit-learn's by more than is allowed."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("images", help="as vqcli takes them")
    parser.add_argument("--codes", type=int, default=16384, help="K of the whole job")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--limit", type=int, help="images")
    parser.add_argument("--subset", type=int, default=200_000, help="vectors that scikit-learn gets too")
    parser.add_argument("--subset-codes", type=int, nargs="*", default=[1024])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(build(options)))
        return
    torch.set_num_threads(options.threads)
    rows = compare(options)
    command = [sys.executable, __file__, *sys.argv[1:], "--child"]
    whole = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    if options.json:
        print(json.dumps({"subset": rows, "whole": whole}, indent=2))
    else:
        show(rows, whole)
    if any(row["share"] > ALLOWED for row in rows):
        sys.exit(f"an objective above {ALLOWED} of scikit-learn's")


if __name__ == "__main__":
    main()
