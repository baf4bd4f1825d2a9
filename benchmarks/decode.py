"""`vqcli decode` from tokens to PNG files, against its decoder alone and a plain loop.

    python benchmarks/decode.py
    python benchmarks/decode.py --models llamagen-vq16 --count 8
    python benchmarks/decode.py --quick

Networks have random weights and the sizes of a recipe, tokens are random. The decoder alone has batches of
the command's size and its way of keeping memory. The plain loop decodes an image at a time, and Pillow saves
it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from benchmarks.commands import Clock, Seconds, main_of, make_model, race_in_children, rows
from benchmarks.side_by_side import parser
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.jobs.decode import decode
from vqcli.jobs.devices import working_device
from vqcli.jobs.options import DecodeOptions
from vqcli.pixels import to_pil, to_uint8
from vqcli.types import Tokens

CPU = torch.device("cpu")
COUNTS = {"llamagen-vq16": 8, "demo": 1024}
"""Images a turn."""
BATCH = DecodeOptions().batch_size


def ours(model: str, tokens: str) -> dict[str, Seconds]:
    """The command's job."""
    clock = Clock("decode")
    with tempfile.TemporaryDirectory() as out:
        decode(Path(tokens), Path(out, "images"), DecodeOptions(model, device="cpu"), clock)
        return clock.told()


@torch.inference_mode()
def decoder(model: str, tokens: str) -> dict[str, Seconds]:
    """The decoder, whose images nobody wants."""
    clock, device = Clock(""), working_device("cpu")
    tokenizer, ids = load_tokenizer(Path(model), device), torch.from_numpy(np.load(tokens).astype(np.int64))
    clock.start("", len(ids), "images")
    for some in ids.split(BATCH):
        tokenizer.decode(Tokens(some.flatten(1), (tuple(ids.shape[1:]),)))
    return clock.told()


@torch.inference_mode()
def plain(model: str, tokens: str) -> dict[str, Seconds]:
    """One image at a time, as published samplers do it."""
    clock, ids = Clock(""), torch.from_numpy(np.load(tokens).astype(np.int64))
    tokenizer = load_tokenizer(Path(model), CPU)
    clock.start("", len(ids), "images")
    with tempfile.TemporaryDirectory() as out:
        for i, one in enumerate(ids):
            image = tokenizer.decode(Tokens(one.flatten()[None], (tuple(one.shape),)))
            to_pil(to_uint8(image)[0]).save(Path(out, f"{i}.png"))
        return clock.told()


RIVALS = {"vqcli": ours, "decoder alone": decoder, "plain loop": plain}


def compare(model: str, options: argparse.Namespace) -> list[dict]:
    """Rows of one model."""
    count = 4 if options.quick else options.count or COUNTS.get(model, 256)
    with tempfile.TemporaryDirectory() as name:
        size, tokens = make_model(model, Path(name, "model")), Path(name, "tokens.npy")
        tokenizer = load_tokenizer(Path(name, "model"), CPU)
        ((h, w),) = tokenizer.grid(*size)
        codes = tokenizer.spec.codebook_size
        np.save(tokens, np.random.default_rng(0).integers(0, codes, (count, h, w)).astype(np.uint16))
        given = {"model": str(Path(name, "model")), "tokens": str(tokens)}
        seen = race_in_children(__file__, list(RIVALS), given, options)
    return rows(f"{model}, {count:,} images of {size[0]}x{size[1]}", seen, images=count)


def main() -> None:
    """Measure every model."""
    arguments = parser(__doc__)
    arguments.add_argument("--count", type=int, help="images a turn")
    main_of(arguments, RIVALS, compare, ["llamagen-vq16", "demo"])


if __name__ == "__main__":
    main()
