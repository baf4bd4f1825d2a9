"""What reliability costs: checkpoints of training, hashes and flushes of encoding, checks of a large model.

Seconds are counted inside of one run, where the work is done, and not as the difference of two: on a machine
with other work two runs differ by more than the price.

    python benchmarks/bench_reliability.py
    python benchmarks/bench_reliability.py --steps 200 --images 20000 --out price.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

MOST_TRAINING, MOST_ENCODING, MOST_INFO = 0.02, 0.03, 0.5
"""Shares of the time without, and seconds."""


class Clock:
    """Seconds spent in some calls; calls within calls count once."""

    def __init__(self) -> None:
        self.seconds, self.calls, self.inside = 0.0, 0, False

    def on(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            if self.inside:
                return call(*arguments, **options)
            self.inside, start = True, time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                self.inside = False
                self.seconds += time.perf_counter() - start
                self.calls += 1

        return timed


@contextmanager
def timing(*places: tuple[Any, str]) -> Iterator[Clock]:
    """A clock on functions, each an object and a name."""
    clock = Clock()
    with ExitStack() as patched:
        for place, name in places:
            patched.enter_context(patch.object(place, name, clock.on(getattr(place, name))))
        yield clock


def training(folder: Path, steps: int) -> dict[str, Any]:
    """The demo recipe, with a checkpoint every quarter of the steps."""
    import vqcli.training.loop as loop
    from vqcli.jobs.options import TrainOptions
    from vqcli.jobs.train import train
    from vqcli.training.recipe import TrainingConfig

    default = TrainingConfig.model_fields["checkpoint_every"].default
    every = max(steps // 4, 1)
    settings = [
        f"training.steps={steps}",
        f"training.checkpoint_every={every}",
        f"training.sample_every={steps + 1}",
    ]
    settings += [f"training.validate_every={steps + 1}", "training.validation_images=64"]
    run = folder / "run"
    with timing((loop, "save")) as clock:
        train(
            TrainOptions(
                "demo", run, settings=[*settings, "data.num_workers=0", "data.source=demo:1000"], device="cpu"
            )
        )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    state = json.loads(max((run / "checkpoints").glob("step-*/state.json")).read_text())
    step, save = (state["seconds"] - clock.seconds) / steps, clock.seconds / clock.calls
    price = save / (default * step)
    return {
        "what": f"training, a checkpoint every {default:,} steps (default), demo recipe",
        "limit": f"{MOST_TRAINING:.0%}",
        "measured": f"{price:.3%} ({save:.2f} s each, {step:.3f} s a step)",
        "holds": price <= MOST_TRAINING,
        "price": price,
        "lines": len(lines),
    }


def encoding(folder: Path, images: int) -> dict[str, Any]:
    """Drawn images of 32x32 with the network of the demo recipe, untrained: small work, so a high price."""
    import vqcli.data.tokens.store as store
    from vqcli.jobs.encode import encode
    from vqcli.jobs.options import ImageOptions

    make_model(folder / "model", 1024, 32)
    options = ImageOptions(f"demo:{images}", str(folder / "model"), device="cpu", num_workers=0)
    start = time.perf_counter()
    with timing((os, "fsync"), (hashlib, "file_digest"), (store, "_seal")) as clock:
        encode(options, folder / "tokens.npy")
    whole = time.perf_counter() - start
    price = clock.seconds / (whole - clock.seconds)
    return {
        "what": f"encoding, hashes and flushes, {images:,} images of 32x32",
        "limit": f"{MOST_ENCODING:.0%}",
        "measured": f"{price:.2%} ({clock.seconds:.2f} s of {whole:.1f} s)",
        "holds": price <= MOST_ENCODING,
        "price": price,
    }


def make_model(folder: Path, codes: int, width: int) -> None:
    """A tokenizer's folder, untrained."""
    import torch

    from vqcli.checkpoint.tokenizer import save_tokenizer
    from vqcli.tokenizers.conv import ConvTokenizer

    torch.manual_seed(0)
    codebook = {"name": "learned", "size": codes, "width": width, "init": "normal"}
    config = {"network": "small-4", "codebook": codebook, "quantizer": {"name": "nearest"}}
    tokenizer = ConvTokenizer(ConvTokenizer.Config(**config))
    tokenizer.image_size = (32, 32)
    folder.mkdir(exist_ok=True)
    save_tokenizer(tokenizer, folder)


def information(folder: Path) -> dict[str, Any]:
    """``vqcli info`` of a model of 500 MB, the whole command: the first time, and the best of later ones.

    In seconds of the processor: those of a clock depend on what else the machine does.
    """
    from vqcli import files

    with files.writing_folder(folder / "large") as large:
        make_model(large, 500_000, 250)
    size = sum(path.stat().st_size for path in (folder / "large").rglob("*"))
    time.sleep(3)  # hashes are remembered of files that are still
    seconds = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "vqcli", "info", str(folder / "large")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    best = min(seconds[1:])
    return {
        "what": f"`vqcli info` of a model of {size / 1e6:,.0f} MB, the second time, processor",
        "limit": f"{MOST_INFO} s",
        "measured": f"{best:.2f} s (the first time {seconds[0]:.2f} s)",
        "holds": best < MOST_INFO,
        "price": best,
    }


def main() -> None:
    """Measure, and fail where the price is too high."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--out", type=Path, help="write JSON there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["VQCLI_CACHE"] = str(folder / "cache")
        prices = []
        for measure in (
            partial(information, folder),
            partial(encoding, folder, options.images),
            partial(training, folder, options.steps),
        ):
            prices.append(price := measure())
            print(f"{price['what']}: {price['measured']}, at most {price['limit']}", flush=True)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"prices": prices}, indent=2) + "\n")
    if not all(price["holds"] for price in prices):
        sys.exit("the price is too high")


if __name__ == "__main__":
    main()
