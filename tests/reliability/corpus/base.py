"""What malformed inputs stand beside: a tokenizer, a generator, tokens, a run and an image, all small."""

from __future__ import annotations

import pkgutil
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from tests.reliability.corpus.child import run

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
USED = ("accelerate", "safetensors.numpy", "safetensors.torch", "pyarrow.parquet", "torch._dynamo")
SURROUNDINGS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "200"}


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of a command in a folder: nothing of it reaches the user's own."""
    return {**SURROUNDINGS, "VQCLI_CACHE": str(folder / "cache"), "HOME": str(folder / "home")}


def picture(seed: int = 0, side: int = 8) -> bytes:
    """A small PNG."""
    import io

    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def prepared(base: Path) -> Path:
    """The folder of models, made where it is not there yet."""
    import torch

    torch.set_num_threads(1)
    _import_all()
    done = base / "done"
    if done.exists():
        return base
    base.mkdir(parents=True, exist_ok=True)
    for i in range(10):
        path = base / "pictures" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    (base / "tiny.yaml").write_text(RECIPE)
    (base / "gpt.yaml").write_text(GENERATOR)
    here = ("--device", "cpu")
    for command in (
        ("train", "tiny.yaml", "--out", "run", *here),
        ("train", "gpt.yaml", "--out", "grun", *here),
        ("encode", "pictures", "-m", "tok", "-o", "tokens.npy", "--num-workers", "0", *here),
        ("encode", "pictures", "-m", "tok", "-o", "tokens", "--num-workers", "0", *here),
    ):
        ended = run(list(command), base, surroundings(base))
        assert not ended.code, ended.err
        if command[1] == "tiny.yaml":
            (base / "run" / "model").rename(base / "tok")
        if command[1] == "gpt.yaml":
            (base / "grun" / "model").rename(base / "gen")
    done.touch()
    return base


@cache
def _import_all() -> None:
    """What commands import as they go is here already when they are forked: most of their time otherwise."""
    from PIL import Image

    import vqcli

    Image.init()
    ours = [module.name for module in pkgutil.walk_packages(vqcli.__path__, "vqcli.")]
    for name in (*USED, *ours):
        with suppress(ImportError):
            if not name.endswith("__main__"):
                import_module(name)
