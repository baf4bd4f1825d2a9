"""Turn tokens back into images.

Shape letters: B images of a batch, L tokens an image.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch

from vqcli import files
from vqcli.data.tokens import Row, TokensFile, TokensFolder, open_tokens
from vqcli.errors import VqcliError
from vqcli.jobs.models import autocast, open_tokenizer, pick_device
from vqcli.pixels import to_pil, to_uint8
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import Grid, Progress, Tokens, grid_length, silent

LONGEST_NAME = 200
"""Bytes of a file name; file systems take 255, and a temporary name is longer."""


@dataclass(frozen=True)
class DecodeOptions:
    """How tokens are decoded."""

    model: str | None = None
    batch_size: int = 32
    device: str | None = None
    precision: str = "fp32"
    limit: int | None = None
    force: bool = False
    """Decode tokens of another tokenizer too."""


@dataclass(frozen=True)
class DecodeResult:
    """What a job came to."""

    out: Path
    model: Path
    images: int
    kept: int
    """Images that were there already, from a job that was interrupted."""
    seconds: float


def decode(tokens: Path, out: Path, options: DecodeOptions, progress: Progress = silent) -> DecodeResult:
    """Write a PNG for every row of a tokens file or folder, named by its key; existing ones are kept.

    Raises VqcliError before anything is decoded if the tokens are of another tokenizer or out of range.
    """
    start = time.monotonic()
    found = open_tokens(tokens)
    device = pick_device(options.device)
    tokenizer, folder = open_tokenizer(options.model, device)
    check_tokens(found, tokens, tokenizer, force=options.force)
    if found.info is None:
        progress.say(f"{tokens} does not say which tokenizer made it")
    grid = found.grid or default_grid(tokenizer)
    rows = islice(found.rows(grid), options.limit)
    total = min(len(found), options.limit or len(found))
    progress.start("decode", total, "images")
    written = kept = 0
    files.clean(out) if out.is_dir() else None
    for batch in _batches(_named(rows), options.batch_size):
        todo = [(path, row) for name, row in batch if not (path := out / name).exists()]
        kept += len(batch) - len(todo)
        if todo:
            images = decode_rows(tokenizer, [row for _, row in todo], options.precision, device)
            for (path, _), image in zip(todo, images):
                files.write_image(path, to_pil(image))
        written += len(todo)
        progress.advance(len(batch))
    return DecodeResult(out, folder, written + kept, kept, time.monotonic() - start)


@torch.inference_mode()
def decode_rows(tokenizer: Tokenizer, rows: list[Row], precision: str, device: torch.device) -> torch.Tensor:
    """8-bit images (B, 3, H, W) of rows that share a grid."""
    ids = torch.from_numpy(np.stack([row.ids for row in rows]).astype(np.int64)).to(device)
    with autocast(precision, device):
        images = tokenizer.decode(Tokens(ids, rows[0].grid))
    return to_uint8(images.float()).cpu()


def check_tokens(found: TokensFile | TokensFolder, path: Path, tokenizer: Tokenizer, *, force: bool) -> None:
    """Raises VqcliError if the tokens are not this tokenizer's, or not tokens of its codebook."""
    spec = tokenizer.spec
    if found.info and found.info.fingerprint != spec.fingerprint and not force:
        raise VqcliError(
            f"{path} is of tokenizer {found.info.fingerprint[:8]}, the model is {spec.fingerprint[:8]}",
            hint="give the model that made it with -m, or --force",
            reason="fingerprint",
        )
    start = 0
    for block in found.blocks():
        bad = np.argwhere((block < 0) | (block >= spec.codebook_size))
        if len(bad):
            row, position = bad[0]
            raise VqcliError(
                f"{path} holds token {block[row, position]} (image {start + row}, position {position}), "
                f"the codebook ends at {spec.codebook_size - 1}",
                hint="give the model that made it with -m",
                reason="token-range",
            )
        start += len(block)


def default_grid(tokenizer: Tokenizer) -> Grid | None:
    """The grid of an image of the model's own size."""
    size = tokenizer.image_size
    return tokenizer.grid(*size) if size else None


def _named(rows: Iterator[Row]) -> Iterator[tuple[str, Row]]:
    """Rows with the names of their files, all different: ``a/b.jpg`` becomes ``a/b.png``."""
    taken: set[str] = set()
    for row in rows:
        name = file_name(row.key, keep_suffix=False)
        if name.casefold() in taken:
            name = file_name(row.key, keep_suffix=True)
        taken.add(name.casefold())
        yield name, row


def file_name(key: str, *, keep_suffix: bool) -> str:
    """A relative path for a key, which is data: never leaves its folder, every part a harmless name."""
    parts = [p for p in key.split("/") if p not in ("", ".")] or ["image"]
    stem, dot, suffix = parts[-1].rpartition(".")
    if dot and stem and not keep_suffix and suffix.isalnum() and len(suffix) <= 5:
        parts[-1] = stem
    return "/".join(_harmless(part) for part in parts) + ".png"


def _harmless(part: str) -> str:
    name = quote(part, safe=" ()[]{}+,;=@#&!'~", errors="surrogateescape")
    if name.startswith("."):
        name = "%2E" + name[1:]
    return name if len(name) <= LONGEST_NAME else hashlib.sha256(os_bytes(part)).hexdigest()[:16]


def os_bytes(text: str) -> bytes:
    """A name's bytes, also where they are not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _batches(rows: Iterator[tuple[str, Row]], size: int) -> Iterator[list[tuple[str, Row]]]:
    """Consecutive rows of one grid, at most ``size``."""
    for _, same in groupby(rows, key=lambda item: item[1].grid):
        while batch := list(islice(same, size)):
            assert grid_length(batch[0][1].grid) == len(batch[0][1].ids)
            yield batch
