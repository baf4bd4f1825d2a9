"""One of everything that vqcli writes, small, finished and interrupted: what flips of bits start from."""

from __future__ import annotations

import hashlib
import shutil
import signal
from pathlib import Path

import numpy as np
from PIL import Image

from tests.reliability.server import KILL, Ended, Fault, Server

TOKENIZER = """
task: tokenizer
data: {source: 'demo:14', size: 8, num_workers: 0, augment: crop-flip}
losses: {l2: 1.0}
optimizer: {lr: 0.001}
schedule: {warmup: 2}
tokenizer:
  name: conv
  network: tiny
  quantizer: {name: nearest}
  codebook: {name: bridged, size: 16, width: 8, hidden: 16, patch: 2, depth: 1}
training: {average: 0.9, batch_size: 4, checkpoint_every: 2, keep: 2, log_every: 1, sample_every: 100,
  steps: 4, validate_every: 4, validation_images: 2}
"""
PROJECTED = "tokenizer.codebook={name: projected, size: 4, width: 8, base_width: 48, base: codes.safetensors}"
GENERATOR = """
task: generator
tokenizer: model
data: {source: tokens/tokens.npy, num_workers: 0, augment: none, holdout: 0.2}
generator: {name: gpt, classes: 2, layers: 1, heads: 2, width: 16, ffn_multiple: 8}
training: {batch_size: 4, checkpoint_every: 2, keep: 2, log_every: 1, sample_every: 100, steps: 4,
  validate_every: 4, validation_images: 2}
"""
ON_CPU = ("--device", "cpu")
READING = ("--batch-size", "2", "--num-workers", "0", *ON_CPU)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
JOBS = {
    "encode": ("encode", "images", "-o", "out/tokens.npy", "-m", "model", *READING),
    "shards": ("encode", "images", "-o", "out", "-m", "model", *READING),
    "latents": ("encode", "images", "-o", "out", "-m", "model", "--latents", "float16", *READING),
    "codebook": ("build-codebook", "images", "-o", "out/codes.safetensors", "-k", "4", "--patch", "4",
                 "--size", "8", "--iterations", "4", *READING),
    "evaluate": ("evaluate", "model", "--images", "images", "--metrics", "psnr,usage",
                 "-q", *READING),
    "decode": ("decode", "tokens/tokens.npy", "-o", "out", "-m", "model", "--batch-size", "2", *ON_CPU),
    "generate": ("generate", "--prompt-class", "0-1", "-n", "2", "-o", "out/made", "-m", "gen",
                 "--batch-size", "2", *ON_CPU),
    "reconstruct": ("reconstruct", "images", "-o", "out", "-m", "model", *READING),
}  # fmt: skip
"""Jobs that go on where they were interrupted."""
WRITTEN = ("out", "cache")
"""What they write into."""


def make(place: Path, server: Server) -> None:
    """A folder with all of it, made once."""
    if (place / "made").is_file():
        return
    shutil.rmtree(place, ignore_errors=True)
    scene = server.fresh()
    pictures(scene / "images", 12)
    (scene / "tiny.yaml").write_text(TOKENIZER)
    (scene / "gpt.yaml").write_text(GENERATOR)
    do(server, "train", "tiny.yaml", "-o", "run", *ON_CPU)
    shutil.copytree(scene / "run/model", scene / "model")
    evaluate = ("evaluate", "model", "--images", "images", "--metrics", "psnr,usage", *READING)
    do(server, *evaluate, "-o", "results", "--record")
    do(server, "encode", "images", "-o", "tokens/tokens.npy", "-m", "model", *READING)
    do(server, "encode", "images", "-o", "shards", "-m", "model", *READING)
    do(server, "encode", "images", "-o", "latents", "-m", "model", "--latents", "float16", *READING)
    do(server, "train", "gpt.yaml", "-o", "gptrun", *ON_CPU)
    shutil.copytree(scene / "gptrun/model", scene / "gen")
    for recipe, name in (("tiny.yaml", "half"), ("gpt.yaml", "gpthalf")):
        half(server, recipe, name)
    do(server, *JOBS["codebook"])
    shutil.copy(scene / "out/codes.safetensors", scene / "codes.safetensors")
    for name, out in (("decode", "decoded"), ("generate", "generated/made")):
        do(server, *(out if word.startswith("out") else word for word in JOBS[name]))
    published(scene)
    for part in WRITTEN:
        shutil.rmtree(scene / part, ignore_errors=True)
    shutil.copytree(scene, place / "scene", symlinks=True)
    for name, words in JOBS.items():
        interrupted(server, place / name, words)
    (place / "made").touch()


def half(server: Server, recipe: str, name: str) -> None:
    """A run of six steps that was stopped after it had logged the last, and before their checkpoint."""
    do(server, "train", recipe, "-o", name, "--steps", "6", "--set", "training.keep=3", *ON_CPU)
    shutil.rmtree(server.place / name / "model")
    shutil.rmtree(server.place / name / "checkpoints/step-00000006")


def do(server: Server, *words: str) -> Ended:
    ended = server.run(words)
    assert ended.code == 0, (words, ended)
    return ended


def interrupted(server: Server, place: Path, words: tuple[str, ...]) -> None:
    """What a job leaves that is killed when it has given most of its files their names."""
    renames = [n for n, kind in enumerate(do(server, *words).kinds[0], 1) if kind == "n"]
    for part in WRITTEN:
        shutil.rmtree(server.place / part, ignore_errors=True)
    ended = server.run(words, fault=Fault(renames[max(0, len(renames) * 2 // 3 - 1)], KILL))
    assert ended.code == -signal.SIGKILL, (words, ended)
    place.mkdir()
    for part in WRITTEN:
        if (server.place / part).exists():
            shutil.move(server.place / part, place / part)


def pictures(folder: Path, count: int) -> None:
    """Images of two classes."""
    chance = np.random.default_rng(0)
    for i in range(count):
        path = folder / ("cat", "dog")[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (8, 8, 3), np.uint8)).save(path)


def published(scene: Path) -> None:
    """The model as the Hub's client keeps it, in ``hub``: files by hash, and links to them by name."""
    place = scene / "hub/models--owner--name"
    snapshot = place / "snapshots" / COMMIT
    (place / "blobs").mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs/main").write_text(COMMIT)
    snapshot.mkdir(parents=True)
    for path in sorted((scene / "model").iterdir()):
        data = path.read_bytes()
        name = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        if path.suffix == ".safetensors":
            name = hashlib.sha256(data).hexdigest()
        (place / "blobs" / name).write_bytes(data)
        (snapshot / path.name).symlink_to(Path("../../blobs") / name)
