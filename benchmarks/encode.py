"""`vqcli encode` from images to tokens, against its network's forward alone and a plain extraction loop.

    python benchmarks/encode.py
    python benchmarks/encode.py --images photographs/ --count 8 --models llamagen-vq16
    python benchmarks/encode.py --quick

Networks have random weights and the sizes of a recipe. The forward alone has its images in memory, batches of
the command's size and its way of keeping memory: no command can be faster. The plain loop is of LlamaGen's
structure: an image at a time, opened by Pillow, its codes found by the published expression, a file each.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from benchmarks.commands import Clock, Seconds, main_of, make_model, race_in_children, rows
from benchmarks.nearest import published
from benchmarks.side_by_side import parser
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.data.images.demo import DemoSource
from vqcli.data.images.open import open_source
from vqcli.data.loader import eval_batches
from vqcli.jobs.devices import working_device
from vqcli.jobs.encode import encode
from vqcli.jobs.options import ImageOptions
from vqcli.pixels import CenterCrop, normalize
from vqcli.quantizers.base import flatten

CPU = torch.device("cpu")
COUNTS = {"llamagen-vq16": 8, "demo": 2048}
"""Images a turn."""


def ours(model: str, images: str, count: int, workers: int | None) -> dict[str, Seconds]:
    """The command's job."""
    clock = Clock("encode")
    asked = ImageOptions(images, model, limit=count, num_workers=workers, device="cpu")
    with tempfile.TemporaryDirectory() as out:
        encode(asked, Path(out, "tokens.npy"), progress=clock)
        return clock.told()


@torch.inference_mode()
def forward(model: str, images: str, count: int, workers: int | None) -> dict[str, Seconds]:
    """The network on images that are there."""
    clock, device = Clock(""), working_device("cpu")
    tokenizer = load_tokenizer(Path(model), device)
    size = tokenizer.image_size
    loaded = eval_batches(open_source(images), np.arange(count), CenterCrop(size), 32)
    batches = [batch.stacked() for batch in loaded]
    clock.start("", count, "images")
    for batch in batches:
        tokenizer.quantizer.tokenize(tokenizer.latents(normalize(batch)))
    return clock.told()


@torch.inference_mode()
def plain(model: str, images: str, count: int, workers: int | None) -> dict[str, Seconds]:
    """LlamaGen's extraction, without processes that load."""
    clock = Clock("")
    tokenizer, source = load_tokenizer(Path(model), CPU), open_source(images)
    quantizer, cut = tokenizer.quantizer, CenterCrop(tokenizer.image_size)
    codes_kd = quantizer.codes()
    clock.start("", count, "images")
    with tempfile.TemporaryDirectory() as out:
        for i in range(count):
            data = source.read(i)
            with Image.open(io.BytesIO(data) if isinstance(data, bytes) else str(data)) as image:
                pixels = np.array(cut(image.convert("RGB"), np.random.default_rng))
            x = torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float() / 127.5 - 1
            z_nd = flatten(quantizer.normalize(tokenizer.latents(x[None])))
            np.save(Path(out, f"{i}.npy"), published(z_nd, codes_kd).numpy())
        return clock.told()


RIVALS: dict[str, Callable[..., dict[str, Seconds]]] = {
    "vqcli": ours,
    "forward alone": forward,
    "plain loop": plain,
}


def draw(folder: Path, count: int, size: tuple[int, int]) -> str:
    """A folder of drawn images, as JPEG files."""
    folder.mkdir()
    for i in range(count):
        DemoSource(count, size)[i].image.save(folder / f"{i:05d}.jpg", quality=90)
    return str(folder)


def compare(model: str, options: argparse.Namespace) -> list[dict]:
    """Rows of one model."""
    count = 4 if options.quick else options.count or COUNTS.get(model, 256)
    with tempfile.TemporaryDirectory() as name:
        size = make_model(model, Path(name, "model"))
        images = options.images or draw(Path(name, "images"), count, size)
        given = {"model": str(Path(name, "model")), "images": images, "count": count}
        seen = race_in_children(__file__, list(RIVALS), given | {"workers": options.workers}, options)
    return rows(f"{model}, {count:,} images of {size[0]}x{size[1]}", seen, images=count)


def main() -> None:
    """Measure every model."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", help="a folder or tars; drawn ones by default")
    arguments.add_argument("--count", type=int, help="images a turn")
    arguments.add_argument("--workers", type=int, help="as --num-workers of the command")
    main_of(arguments, RIVALS, compare, ["llamagen-vq16", "demo"])


if __name__ == "__main__":
    main()
