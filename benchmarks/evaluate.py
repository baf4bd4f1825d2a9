"""What `vqcli evaluate` costs beside the networks it asks, and whether memory grows with images.

    python benchmarks/evaluate.py
    python benchmarks/evaluate.py --images 'cifar10/test-*.tar' --counts 1000 10000 --metrics psnr,ssim,usage
    python benchmarks/evaluate.py --quick

Networks have random weights, which cost as much as others, and the tokenizer the sizes of a recipe. The
networks alone have their images in memory, in the command's batches: the tokenizer there and back, and with
fid the Inception network on both sides. Work is what is done image by image: a Fréchet distance at the end
costs seconds however many there were. Peaks of memory stand in the JSON.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from benchmarks.commands import Clock, Seconds, main_of, make_model, race_in_children, rows
from benchmarks.encode import draw
from benchmarks.side_by_side import parser
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.images.open import open_source
from vqcli.data.loader import eval_batches
from vqcli.jobs.devices import working_device
from vqcli.jobs.evaluation.evaluate import evaluate
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.nn.inception import FidInception
from vqcli.nn.random_weights import random_weights
from vqcli.pixels import CenterCrop, normalize, to_uint8

BATCH = 32


def ours(model: str, images: str, count: int, metrics: str, workers: int | None) -> dict[str, Seconds]:
    """The command's job."""
    clock = Clock("reconstruct")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["VQCLI_CACHE"] = cache
        chosen = metrics.split(",")
        given = {"metrics": chosen, "limit": count, "num_workers": workers, "batch_size": BATCH}
        evaluate(EvaluateOptions(model, images, random_networks=True, device="cpu", **given), progress=clock)
        return clock.told(clock.last)


@torch.inference_mode()
def networks(model: str, images: str, count: int, metrics: str, workers: int | None) -> dict[str, Seconds]:
    """The tokenizer, and the Inception network where a metric needs it, on images that are there."""
    clock, device = Clock(""), working_device("cpu")
    tokenizer, inception = load_tokenizer(Path(model), device), FidInception()
    inception.load(random_weights(inception.published()))
    cut = CenterCrop(tokenizer.image_size)
    batches = [batch.stacked() for batch in eval_batches(open_source(images), np.arange(count), cut, BATCH)]
    clock.start("", count, "images")
    for batch in batches:
        made, _ = tokenizer.roundtrip(normalize(batch))
        if "fid" in metrics.split(","):
            inception(to_uint8(made))
            inception(batch)
    return clock.told()


RIVALS = {"vqcli": ours, "networks alone": networks}


def compare(model: str, count: int, options: argparse.Namespace) -> list[dict]:
    """Rows of one model and number of images."""
    with tempfile.TemporaryDirectory() as name:
        size = make_model(model, Path(name, "model"))
        images = options.images or draw(Path(name, "images"), count, size)
        given = {"model": str(Path(name, "model")), "images": images, "count": count}
        given |= {"metrics": options.metrics, "workers": options.workers}
        seen = race_in_children(__file__, list(RIVALS), given, options)
    what = f"{model}, {options.metrics}, {count:,} images of {size[0]}x{size[1]}"
    return rows(what, seen, images=count)


def every_count(model: str, options: argparse.Namespace) -> list[dict]:
    """Rows of one model, for every number of images; a quick run asks for no network."""
    if options.quick:
        options.counts, options.metrics = [4], "psnr"
    return [row for count in options.counts for row in compare(model, count, options)]


def main() -> None:
    """Measure every model."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", help="a folder or shards; drawn ones by default")
    arguments.add_argument("--counts", type=int, nargs="+", default=[128], help="images")
    arguments.add_argument("--metrics", default="psnr,ssim,fid")
    arguments.add_argument("--workers", type=int, help="as --num-workers of the command")
    main_of(arguments, RIVALS, every_count, ["demo"])


if __name__ == "__main__":
    main()
