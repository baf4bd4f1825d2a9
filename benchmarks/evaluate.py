"""What an evaluation costs: images a second, and whether memory grows with their number.

    python benchmarks/evaluate.py runs/fvq-cifar10 'cifar10/*.parquet' --counts 1000 50000
    python benchmarks/evaluate.py runs/fvq-cifar10 'cifar10/test-*.tar' --counts 1000 --metrics psnr,lpips,fid

Each count is one `vqcli evaluate` with networks of random weights, which cost as much as the published ones.
The rate is that of the work without start and end; memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def measure(arguments: argparse.Namespace, count: int, cache: str) -> tuple[dict, float, float]:
    """The result of one evaluation, its seconds, and its peak of memory in MB."""
    command = [sys.executable, "-m", "vqcli", "evaluate", arguments.model, "--images", arguments.images]
    command += ["--limit", str(count), "--metrics", arguments.metrics, "--random-networks", "--json"]
    command += ["--num-workers", "0", "--batch-size", str(arguments.batch_size), "--device", arguments.device]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "VQCLI_CACHE": cache, "OMP_NUM_THREADS": str(arguments.threads)}
    start = time.monotonic()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(told.decode())
    return json.loads(told), time.monotonic() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Evaluate each count and print a line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("images")
    parser.add_argument("--counts", nargs="+", type=int, default=[1000, 10_000])
    parser.add_argument("--metrics", default="psnr,ssim,usage")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    print(f"{arguments.metrics}; {arguments.threads} threads, batch {arguments.batch_size}")
    print("images    images/s  seconds  peak MB")
    with tempfile.TemporaryDirectory() as cache:
        for count in arguments.counts:
            result, seconds, peak = measure(arguments, count, cache)
            seen = sum(result["counts"].values())
            print(f"{seen:<9,} {result['images_per_second']:>8.1f} {seconds:>8.0f} {peak:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
