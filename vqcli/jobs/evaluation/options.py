"""What a user asks of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqcli.jobs.options import ReadOptions
from vqcli.types import Size


@dataclass(frozen=True)
class EvaluateOptions(ReadOptions):
    """What is measured, of what, and against what.

    ``limit`` is of ``images`` where a tokenizer reconstructs them, else of the target's.
    """

    target: str
    """A tokenizer, a generator, or images."""
    images: str | None = None
    """What a tokenizer reconstructs; what samples are measured against: images, or a file of statistics."""
    protocol: str = "plain"
    paired: bool = False
    """Compare the target's images with those of ``images`` one by one."""
    metrics: Sequence[str] = ()
    """Those of the protocol if empty."""
    size: Size | None = None
    """Of a tokenizer's images: the model's own by default."""
    eval_size: tuple[int, int] | None = None
    """(height, width) that reconstructions, their images and samples are brought to before all metrics."""
    batch_size: int = 32
    device: str | None = None
    precision: str = "fp32"
    samples: int = 50_000
    """Images that a generator makes."""
    seed: int = 0
    """Of a generator's labels and images."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """What is to differ from a generator's own sampling."""
    tokenizer: str | None = None
    """What makes images of what a generator makes; the one that came with it otherwise."""
    lpips_weights: Path | None = None
    inception_weights: Path | None = None
    random_networks: bool = False
    """Networks with random weights: shows that everything works; its numbers mean nothing elsewhere."""
    statistics: Path | None = None
    """Where the statistics of the measured images are written, for later evaluations to stand on."""
    few_images: bool = False
    """Also measure what needs more images than there are: ``--force`` of the command."""
    record: bool = False
    """Write the numbers into the tokenizer's folder."""
    save_every: float = 10.0
    """Seconds of work that a kill can cost, about."""
