"""How every job that looks at images gets them: in batches, loaded by other processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch

from vqcli.data.images.base import Source
from vqcli.data.loader import Batch, eval_batches
from vqcli.jobs.options import ReadOptions
from vqcli.pixels import Transform

WORKERS, MOST_FOR_GPU = 2, 16
"""Processes that load images beside a CPU, and for a GPU at most."""


def load_batches(
    source: Source,
    items: np.ndarray,
    transform: Transform,
    batch_size: int,
    options: ReadOptions,
    device: torch.device,
) -> Iterator[Batch]:
    """Batches of these items, in order. Raises BadImage if strict, and what ``eval_batches`` raises."""
    workers = worker_count(options.num_workers, device)
    for batch in eval_batches(source, items, transform, batch_size, workers):
        if batch.rejected and options.strict:
            raise batch.rejected[0]
        yield batch


def worker_count(asked: int | None, device: torch.device) -> int:
    """Processes that load images: as many as asked, else two, and for a GPU its share of the cores."""
    if asked is not None or device.type == "cpu":
        return WORKERS if asked is None else asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(WORKERS, min(MOST_FOR_GPU, cores // max(1, torch.cuda.device_count())))
