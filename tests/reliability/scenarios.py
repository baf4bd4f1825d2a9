"""The commands that faults are injected into, and what they start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scenario:
    """A command in a folder with a few small things."""

    name: str
    command: str
    needs: str
    """What it finds there, from the common stock; ``a=b`` is found under the name ``b``."""
    makes: str = ""
    """Files and folders that it may write or replace."""
    again: str = ""
    """Continues the command where it was stopped; by default the same one does."""
    processes: int = 1
    every: int = 1
    """Only every so manyth fault is tried, where a command is slow."""
    exists: bool = False
    """Given again when all is done, the command refuses since its result is there."""
    whole: str = ""
    """Folders that are all old or all new at any moment."""
    code: int = 0
    """Of the undisturbed command."""


CPU = "--device cpu"
IMAGES = f"-b 4 {CPU} --num-workers 0"
TRAIN = f"-o run {CPU} --num-workers 0"
RESUME = f"train --resume run {CPU} --num-workers 0"
ENCODE = f"encode images -m tok {IMAGES}"
DECODE = f"decode t.npy -m tok -o dec -b 4 {CPU}"
GENERATE = f"generate -m gen --prompt-class 0-1 -n 2 {CPU}"
EVALUATE = f"evaluate tok --images images --metrics psnr,usage {IMAGES}"
T, TOKENS = "t.npy t.json t.partial", "tok t.npy t.json"
SMALL = "small t-pruned.npy t-pruned.json"

SCENARIOS = (
    Scenario("train", f"train tiny.yaml {TRAIN}", "tiny.yaml images", "run", RESUME),
    Scenario("train-gan", f"train gan.yaml {TRAIN}", "gan.yaml images", "run", RESUME, every=7),
    Scenario("train-generator", f"train gpt.yaml {TRAIN}", "gpt.yaml images tok", "run", RESUME, every=3),
    Scenario("resume", RESUME, "tiny.yaml images stopped=run", "run", every=2),
    Scenario(
        "train-two", f"train tiny.yaml {TRAIN}", "tiny.yaml images", "run", RESUME, processes=2, every=17
    ),
    Scenario("encode", f"{ENCODE} -o t.npy", "images tok", T, exists=True),
    Scenario("encode-shards", f"{ENCODE} -o t", "images tok", "t"),
    Scenario("encode-latents", f"encode images -m auto -o t --latents float16 {IMAGES}", "images auto", "t"),
    Scenario("encode-force", f"{ENCODE} -o t.npy --force", "images tok other.npy=t.npy other.json=t.json", T),
    Scenario("encode-two", f"{ENCODE} -o t", "images tok", "t", processes=2, every=7),
    Scenario("decode", DECODE, TOKENS, "dec"),
    Scenario("decode-force", f"{DECODE} --force", f"{TOKENS} decoded=dec", "dec"),
    Scenario("reconstruct", f"reconstruct images -m tok -o rec {IMAGES}", "images tok", "rec"),
    Scenario("generate", f"{GENERATE} -o made", "gen", "made made-sheet.png"),
    Scenario(
        "generate-npz",
        f"{GENERATE} -o made --npz made.npz",
        "gen",
        "made made.npz made-sheet.png",
        exists=True,
    ),
    Scenario("generate-tokens", f"{GENERATE} --tokens-only -o t.npy", "gen", T, exists=True),
    Scenario(
        "build-codebook",
        f"build-codebook images -k 4 --size 8 -o codes.safetensors {IMAGES}",
        "images",
        "codes.safetensors codes.partial",
        exists=True,
    ),
    Scenario("evaluate", f"{EVALUATE} -o ev", "images tok", "ev", exists=True),
    Scenario("evaluate-force", f"{EVALUATE} -o ev --force", "images tok evaluated=ev", "ev", whole="ev"),
    Scenario("evaluate-print", EVALUATE, "images tok"),
    Scenario("usage-report", f"usage-report tok --images images -o u.html {IMAGES}", "images tok", "u.html"),
    Scenario("usage-of-tokens", "usage-report t.npy -o u.html", TOKENS, "u.html"),
    Scenario("prune", f"prune tok --images images -o small {IMAGES}", "images tok", "small", exists=True),
    Scenario("prune-tokens", "prune tok --tokens t.npy -o small", TOKENS, SMALL, exists=True),
    Scenario(
        "prune-shards", "prune tok --tokens shards -o small", "tok shards", "small shards-pruned", exists=True
    ),
    Scenario(
        "prune-force",
        "prune tok --tokens t.npy -o small --force",
        f"{TOKENS} auto=small",
        SMALL,
        whole="small",
    ),
    Scenario("import", "import foreign.pt -o m", "foreign.pt", "m", exists=True),
    Scenario("import-force", "import foreign.pt -o m --force", "foreign.pt tok=m", "m", whole="m"),
    Scenario("info-model", "info tok", "tok"),
    Scenario("info-generator", "info gen", "gen"),
    Scenario("info-run", "info stopped", "stopped"),
    Scenario("info-tokens", "info t.npy", TOKENS),
    Scenario("info-shards", "info shards", "shards"),
    Scenario("info-images", "info images", "images"),
    Scenario("cache-rm", "cache rm --all -y", "cached=cache", "cache"),
    Scenario("cache-ls", "cache", "cached=cache"),
    Scenario("check", "check tiny.yaml", "tiny.yaml images"),
    Scenario("runs", "runs runs", "stopped=runs/run"),
)

STOCK = (
    f"{ENCODE} -o t.npy",
    f"encode images -m tok2 -o other.npy {IMAGES}",
    f"{ENCODE} -o shards",
    f"decode other.npy -m tok2 -o decoded -b 4 {CPU}",
    f"evaluate tok2 --images images --metrics psnr,usage -o evaluated {IMAGES}",
)
"""Commands that make what others start from."""
STOPPED = f"train tiny.yaml -o stopped {CPU} --num-workers 0"
"""One more, which is killed when it has written its first checkpoint."""

TINY = """
task: tokenizer
data: {source: images, holdout: 0.2, size: 8, num_workers: 0, augment: none}
tokenizer:
  name: conv
  network: tiny
  multipliers: [1, 1]
  attention_levels: []
  codebook: {name: learned, size: 16, width: 4}
  quantizer: {name: nearest}
losses: {l2: 1.0}
optimizer: {lr: 0.001}
schedule: {warmup: 1}
training: {steps: 4, batch_size: 4, average: 0.9, checkpoint_every: 2, keep: 1, log_every: 1, sample_every: 2,
  validate_every: 2, validation_images: 2}
"""
GAN = """
adversarial: {weight: 0.1, disc_start: 1, discriminator: {name: patchgan, layers: 1, channels: 4}}
"""
GPT = """
task: generator
tokenizer: tok
data: {source: images, holdout: 0.2, num_workers: 0, augment: none}
generator: {name: gpt, classes: 2, layers: 1, heads: 2, width: 16, ffn_multiple: 8}
training: {steps: 4, batch_size: 4, checkpoint_every: 2, keep: 1, log_every: 1, sample_every: 2,
  validate_every: 2, validation_images: 2}
"""


def make_stock(folder: Path) -> None:
    """Images, models and recipes that no command of ours makes."""
    import numpy as np
    import torch
    from PIL import Image

    from tests.importers.foreign import CASES
    from tests.models import make_autoencoder, make_generator, make_model

    chance = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(5):
            pixels = chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{i}.png")
    make_model(folder / "tok", codes=64)
    make_model(folder / "tok2", codes=64, seed=1)
    make_autoencoder(folder / "auto")
    make_generator(folder / "gen", folder / "tok")
    case = CASES["llamagen"]
    torch.save({"model": case.state(case.model())}, folder / "foreign.pt")
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "gan.yaml").write_text(TINY + GAN)
    (folder / "gpt.yaml").write_text(GPT)
