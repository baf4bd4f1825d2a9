"""Peak memory of ``vqcli encode`` on few and on many images: it must not grow with their number.

Drawn images, a small untrained network, every job in processes of its own; with worker processes the largest
of them counts.

    python benchmarks/encode_memory.py
    python benchmarks/encode_memory.py --images 1000 1000000 --workers 0 --json
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

ALLOWED = 50
"""MB that the largest job may take above the smallest."""


def make_model(folder: Path, side: int) -> None:
    """A model folder with the smallest network there is, untrained."""
    import torch

    from vqcli.checkpoint.tokenizer import save_tokenizer
    from vqcli.tokenizers.conv import ConvTokenizer

    torch.manual_seed(0)
    network = {"network": "tiny", "multipliers": (1, 1), "attention_levels": ()}
    codebook = {"name": "learned", "size": 1024, "width": 8, "init": "normal"}
    tokenizer = ConvTokenizer(
        ConvTokenizer.Config(**network, codebook=codebook, quantizer={"name": "nearest"})
    )
    tokenizer.image_size = (side, side)
    folder.mkdir()
    save_tokenizer(tokenizer, folder)


def encode(model: Path, out: Path, images: int, workers: int) -> dict[str, Any]:
    """Encode in this process. Peak MB of it and of its largest child, and seconds."""
    from vqcli.jobs.encode import encode as run
    from vqcli.jobs.options import ImageOptions

    start = time.perf_counter()
    options = ImageOptions(f"demo:{images}", str(model), device="cpu", num_workers=workers)
    assert run(options, out).encoded == images
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    own, child = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"seconds": time.perf_counter() - start, "mb": own / unit, "worker_mb": child / unit}


def in_child(*arguments: object) -> dict[str, Any]:
    """``encode`` in a fresh process."""
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a job; growth is against the first with as many workers."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        make_model(Path(name) / "model", options.side)
        for workers in options.workers:
            first: dict[str, Any] = {}
            for images in options.images:
                for form in ("npy", "folder"):
                    out = Path(name) / f"{workers}-{images}{'.npy' if form == 'npy' else ''}"
                    row = in_child(Path(name) / "model", out, images, workers)
                    kind = {"workers": workers, "form": form, "images": images}
                    start = first.setdefault(form, row)
                    grown = {f"{key}_grown": row[key] - start[key] for key in ("mb", "worker_mb")}
                    rows.append(kind | row | grown)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """A table on stdout."""
    print("workers form     images  seconds  peak MB  grown  worker MB  grown")
    for row in rows:
        print(
            f"{row['workers']:>7} {row['form']:<6} {row['images']:>8,} {row['seconds']:8.1f} "
            f"{row['mb']:8.0f} {row['mb_grown']:6.1f} {row['worker_mb']:10.0f} {row['worker_mb_grown']:6.1f}"
        )


def main() -> None:
    """Measure, and fail if memory grew by more than is allowed."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 100_000], help="the smallest first")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--side", type=int, default=16, help="pixels of the square images")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        model, out, images, workers = options.child
        print(json.dumps(encode(Path(model), Path(out), int(images), int(workers))))
        return
    rows = measure(options)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows)
    if any(max(row["mb_grown"], row["worker_mb_grown"]) > ALLOWED for row in rows):
        sys.exit(f"memory grew by more than {ALLOWED} MB")


if __name__ == "__main__":
    main()
