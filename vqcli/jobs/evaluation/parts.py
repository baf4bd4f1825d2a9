"""What an evaluation has come to so far, on disk: a file for each process of each command."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch

from vqcli import files
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs.evaluation.measuring import Measuring
from vqcli.types import Progress

DONE, REJECTED = "done", "rejected"
"""Numbers of finished blocks, and the metadata that lists images that could not be used."""
PATIENCE = 20
"""At most one part in so many of the time goes into saving."""


def drop_damaged(folder: Path, progress: Progress) -> None:
    """Let go of parts that are not as they were written: what they held is measured again."""
    for path in _parts(folder):
        try:
            files.load_sealed(path)
        except VqcliError as e:
            if e.reason != "damaged":
                raise
            progress.say(f"{e}: what it held is measured again")
            path.unlink()


def finished(folder: Path) -> set[int]:
    """Blocks that are done."""
    return {block for path in _parts(folder) for block in files.load_sealed(path)[0][DONE].tolist()}


def collect(folder: Path, measuring: Measuring) -> list[dict[str, str]]:
    """Show metrics all that was seen so far; the images that could not be used, each with its reason."""
    rejected: list[dict[str, str]] = []
    for path in _parts(folder):
        tensors, metadata = files.load_sealed(path)
        rejected += json.loads(metadata[REJECTED])
        for name, metric in measuring.metrics.items():
            start = f"{name}/"
            metric.merge({key.removeprefix(start): t for key, t in tensors.items() if key.startswith(start)})
    return sorted(rejected, key=lambda bad: bad["key"])


def next_command(folder: Path) -> int:
    """Number of a command that joins those that left parts."""
    return max((int(path.name.split("-")[1]) for path in _parts(folder)), default=0) + 1


def part_file(folder: Path, command: int, rank: int) -> Path:
    """Where a process of a command saves what it has done."""
    return folder / f"part-{command:03d}-{rank:03d}.safetensors"


class Part:
    """What one process has done; saved now and then, whole."""

    def __init__(self, path: Path, every: float) -> None:
        """``every`` so many seconds it is time to save."""
        self.path, self.every, self.cost = path, every, 0.0
        self.saved = time.monotonic()
        self.blocks: list[int] = []
        self.rejected: list[dict[str, str]] = []

    def reject(self, image: BadImage, what: str) -> None:
        """Note an image that could not be used, in ``what``'s work."""
        self.rejected.append(image.record() | {"of": what})

    def finish(self, block: int, measuring: Measuring) -> None:
        """A block is done."""
        self.blocks.append(block)
        if time.monotonic() - self.saved >= max(self.every, PATIENCE * self.cost):
            self.save(measuring)

    def save(self, measuring: Measuring) -> None:
        """Write all that was seen and done."""
        start = time.monotonic()
        tensors = {DONE: torch.tensor(self.blocks, dtype=torch.int64)}
        for name, metric in measuring.metrics.items():
            tensors |= {f"{name}/{key}": tensor for key, tensor in metric.state().items()}
        files.write_tensors(self.path, tensors, {REJECTED: json.dumps(self.rejected)}, seal=True)
        self.saved = time.monotonic()
        self.cost = self.saved - start


def _parts(folder: Path) -> list[Path]:
    return files.children(folder, "part-*.safetensors")
