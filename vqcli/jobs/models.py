"""Opening models for work: where they are, on which device, in which precision."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal

import torch
from accelerate import PartialState

from vqcli.aliases import ALIASES, DEFAULT, GENERATOR
from vqcli.checkpoint import load_generator, load_tokenizer
from vqcli.config import read_yaml
from vqcli.errors import VqcliError
from vqcli.generators.base import Generator
from vqcli.hub import ENVIRONMENT, published
from vqcli.jobs.cache import model_folder
from vqcli.jobs.published import published_folder
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import Grid, Progress, silent

Size = tuple[int, int] | Literal["native"]
"""(height, width) in pixels, or each image's own."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Of ``mallopt``, as in malloc.h."""
PATIENCE = timedelta(days=1)
"""How long processes wait for the slowest one; a launcher ends them all when one dies."""
LARGE = 4 << 20
"""Bytes of a tensor that is mapped on its own: mapping smaller ones would cost time."""


def pick_device(name: str | None, rank: int = 0) -> torch.device:
    """The named device, else the best there is. Raises VqcliError if it is not there."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and torch.cuda.device_count() > 1:
        name = f"cuda:{rank % torch.cuda.device_count()}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as e:
        raise VqcliError(
            f"device '{name}' cannot be used", hint="vqcli doctor lists devices", reason="environment"
        ) from e
    return device


def processes(device: str | None) -> PartialState:
    """All processes of a job. Without being told, accelerate takes those on CPUs for one process each."""
    return PartialState(cpu=pick_device(device).type == "cpu", timeout=PATIENCE)


def settle_allocator() -> None:
    """Let every large tensor be mapped on its own, so that it goes back when freed; glibc alone is concerned.

    Its heap would take them in after a while and keep holes: over 100 MB in a long job with worker processes.
    """
    _mallopt(M_MMAP_THRESHOLD, LARGE)


def keep_allocated() -> None:
    """Let freed memory stay with the process: fetching it again, page by page, cost a third of the time of a
    network with large activations on a CPU. Peaks are held; glibc alone is concerned.
    """
    _mallopt(M_MMAP_MAX, 0)
    _mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _mallopt(parameter: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).mallopt(parameter, value)


def open_tokenizer(
    reference: str | None, device: torch.device, progress: Progress = silent
) -> tuple[Tokenizer, Path]:
    """The tokenizer a user named, baked and ready, and its folder; a published one for who names none."""
    folder = folder_or(DEFAULT, reference, progress)
    return load_tokenizer(folder, device), folder


def open_generator(
    reference: str | None, device: torch.device, progress: Progress = silent
) -> tuple[Generator, Path]:
    """The generator a user named, ready, and its folder; a published one for who names none."""
    folder = folder_or(GENERATOR, reference, progress)
    return load_generator(folder, device), folder


def folder_or(default: str, reference: str | None, progress: Progress) -> Path:
    """The folder of the model a user named; of the alias ``default``, which is said, for who names none."""
    if not reference and not os.environ.get(ENVIRONMENT):
        reference = default
        progress.say(f"no --model: {default}, {ALIASES[default].what}")
    return model_folder(reference, progress)


def generator_tokenizer(
    folder: Path, reference: str | None, named: str | None, progress: Progress = silent
) -> Path | None:
    """The folder of the tokenizer that decodes what a generator makes; None where nobody tells.

    ``named`` goes first, then what lies in the generator's folder, or what its run trains on, then what
    belongs to ``reference``, the short name it was opened by. Whether the two fit is not looked at.
    """
    if named:
        return model_folder(named, progress)
    if (folder / "tokenizer" / "config.json").is_file():
        return folder / "tokenizer"
    recipe = folder.parent.parent / "recipe.yaml"
    if (folder / "state.json").is_file() and recipe.is_file():  # a checkpoint: its run knows
        return model_folder(read_yaml(recipe)["tokenizer"], progress)
    source = published(reference or os.environ.get(ENVIRONMENT) or GENERATOR)
    return published_folder(ALIASES[source.tokenizer], progress) if source and source.tokenizer else None


def target_size(size: Size | None, tokenizer: Tokenizer) -> tuple[int, int] | None:
    """(height, width) that images are brought to: as asked, else the model's own; None for ``native``.

    Raises VqcliError where the model cannot work at that size.
    """
    if size == "native":
        return None
    wanted = size or tokenizer.image_size
    if wanted is None:
        raise VqcliError(
            "the model does not tell its image size", hint="give --size 256, HxW or native", reason="size"
        )
    check_size(tokenizer, *wanted)
    return wanted[0], wanted[1]


def check_size(tokenizer: Tokenizer, height: int, width: int) -> None:
    """Raises VqcliError if the tokenizer takes no images of this size."""
    try:
        tokenizer.grid(height, width)
    except ValueError as e:
        own = tokenizer.image_size
        hint = (
            f"--size N, HxW or native; it was trained at {own[0]}x{own[1]}" if own else "give another --size"
        )
        raise VqcliError(f"the model takes no {height}x{width} pixels: {e}", hint=hint, reason="size") from e


def decodable(grid: Grid, tokenizer: Tokenizer) -> bool:
    """Whether tokens of this grid are an image's."""
    h, w = grid[-1]
    try:
        return tokenizer.grid(h * tokenizer.downsample, w * tokenizer.downsample) == grid
    except ValueError:
        return False
