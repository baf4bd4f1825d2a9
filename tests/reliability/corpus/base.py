"""What malformed inputs stand beside: a tokenizer, a generator, tokens, a run and an image, all small."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.reliability.server import Server

RECIPE = """task: tokenizer
data: {source: "demo:14", size: 8, augment: none, num_workers: 0}
tokenizer: {name: conv, network: tiny, codebook: {name: learned, size: 16, width: 8}, quantizer: {name: nearest}}
losses: {l2: 1.0}
training: {steps: 2, batch_size: 4, log_every: 1, checkpoint_every: 1, validate_every: 2, validation_images: 2,
  sample_every: 2}
"""
GENERATOR = """task: generator
data: {source: pictures, augment: none, num_workers: 0, holdout: 0.2}
tokenizer: tok
generator: {name: gpt, classes: 2, layers: 1, heads: 2, width: 16, ffn_multiple: 8}
training: {steps: 2, batch_size: 4, log_every: 1, checkpoint_every: 2, validate_every: 2, validation_images: 2,
  sample_every: 2}
"""


def picture(seed: int = 0, side: int = 8) -> bytes:
    """A small PNG."""
    import io

    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def prepared(base: Path, server: Server) -> Path:
    """The folder of models, made where it is not there yet."""
    done = base / "done"
    if done.exists():
        return base
    place = server.fresh()
    for i in range(10):
        path = place / "pictures" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    (place / "tiny.yaml").write_text(RECIPE)
    (place / "gpt.yaml").write_text(GENERATOR)
    here = ("--device", "cpu")
    for command in (
        ("train", "tiny.yaml", "--out", "run", *here),
        ("train", "gpt.yaml", "--out", "grun", *here),
        ("encode", "pictures", "-m", "tok", "-o", "tokens.npy", "--num-workers", "0", *here),
        ("encode", "pictures", "-m", "tok", "-o", "tokens", "--num-workers", "0", *here),
    ):
        ended = server.run(command)
        assert not ended.code, ended.err
        if command[1] == "tiny.yaml":
            (place / "run" / "model").rename(place / "tok")
        if command[1] == "gpt.yaml":
            (place / "grun" / "model").rename(place / "gen")
    shutil.copytree(place, base, dirs_exist_ok=True)
    done.touch()
    return base
