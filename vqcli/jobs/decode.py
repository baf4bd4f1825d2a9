"""Turn tokens back into images.

Shape letters: B images of a batch, L tokens an image.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqcli import files
from vqcli.data.tokens.files import TokensFile, TokensFolder, check_range, open_tokens
from vqcli.data.tokens.store import INDEX, Row
from vqcli.errors import VqcliError
from vqcli.jobs.devices import passes, working_device
from vqcli.jobs.file_names import FileNames
from vqcli.jobs.options import DecodeOptions
from vqcli.jobs.places import check_folder, made, vacant, whole
from vqcli.library.aliases import ALIASES, DEFAULT
from vqcli.library.open import open_tokenizer
from vqcli.library.references import ENVIRONMENT
from vqcli.nn.precision import DECODED, autocast, finite
from vqcli.pixels import to_pil, to_uint8
from vqcli.tokenizers.base import Tokenizer
from vqcli.tokenizers.sizes import decodable
from vqcli.types import Grid, Progress, Tokens, grid_length, silent

MARK = ".decode.json"
"""In a folder of images: of which tokens they are, so that two jobs never mix."""
OVER = "over"
"""In a mark while images are replaced: whether all that were there are of another job."""
IMAGES = "images"
"""In a mark of a job that is finished: how many."""


@dataclass(frozen=True)
class DecodeResult:
    """What a job came to."""

    out: Path
    model: Path
    images: int
    """Made by this command."""
    kept: int
    """Images that were there already, from a job that was interrupted."""
    seconds: float


def decode(tokens: Path, out: Path, options: DecodeOptions, progress: Progress = silent) -> DecodeResult:
    """Write a PNG for every row of a tokens file or folder, named by its key, continuing an interrupted job.

    Raises VqcliError before anything is decoded if the tokens are of another tokenizer or out of range, or
    if ``out`` holds something else.
    """
    start = time.monotonic()
    found = open_tokens(tokens)
    check_out(out, force=options.force)
    check_usual(found, tokens, options.model)
    device = working_device(options.device)
    tokenizer, folder = open_tokenizer(options.model, device, progress)
    tokenizer.quantizer.require_codes()
    check_tokens(found, tokens, tokenizer, force=options.force)
    if found.info is None:
        progress.say(f"{tokens} does not say which tokenizer made it")
    rows = islice(found.rows(found.grid or default_grid(tokenizer)), options.limit)
    written = kept = 0
    with files.locked(out):
        mark = make_mark(tokens, folder, options)
        keep = begin(out, mark, force=options.force)
        progress.start("decode", min(len(found), options.limit or len(found)), "images")
        names: set[str] = set()
        with files.ImageWriter() as writer:
            for batch in _batches(_named(rows), options.batch_size):
                names |= {name for name, _ in batch}
                places = [(out / name, row) for name, row in batch]
                todo = [
                    (path, row) for path, row in places if not (keep and whole(partial(made, path), progress))
                ]
                kept += len(batch) - len(todo)
                if todo:
                    images = decode_rows(tokenizer, [row for _, row in todo], options.precision, device)
                    for (path, _), image in zip(todo, images):
                        writer.write(path, to_pil(image))
                written += len(todo)
                progress.advance(len(batch))
        if not keep:
            remove_others(out, names)
        files.write_sealed(out / MARK, mark | {IMAGES: written + kept})
    return DecodeResult(out, folder, written, kept, time.monotonic() - start)


def check_out(out: Path, *, force: bool) -> None:
    """Raises VqcliError if ``out`` is no folder, or holds other files than a job's, unless ``force``."""
    check_folder(out)
    if files.is_folder(out) and not (force or files.is_file(out / MARK) or vacant(out)):
        raise _taken(out, "other files")


def _taken(out: Path, what: str) -> VqcliError:
    hint = "give another -o, or --force to write there"
    return VqcliError(f"{out} holds {what}", hint=hint, reason="exists")


def begin(out: Path, mark: dict[str, str], *, force: bool) -> bool:
    """Whether the images in ``out`` are of this job; those of another must be forced. Raises VqcliError."""
    path = out / MARK
    found = _marked(path, force=force)
    files.clean(out, f"**/{files.TEMPORARY}*")
    if found == mark:
        return True
    if vacant(out):
        files.write_sealed(path, mark)
        return True
    if not force:
        raise _taken(out, "images of other tokens or another model" if found else "other files")
    over = found.get(OVER, True) if found is not None else False
    files.write_sealed(path, mark | {OVER: over})  # until all are replaced, no image counts as done
    return False


def _marked(path: Path, *, force: bool) -> dict[str, Any] | None:
    """What a mark says of the job, None where there is none; a damaged one that is forced says nothing."""
    if not files.is_file(path):
        return None
    try:
        found = files.read_sealed(path)
    except VqcliError as e:
        if e.reason != "damaged" or not force:
            raise
        return {}
    found.pop(IMAGES, None)
    return found


def pictures(out: Path) -> int | None:
    """How many a finished job has; None of one that has not finished. Raises VqcliError."""
    found = files.read_sealed(out / MARK).get(IMAGES)
    return found if isinstance(found, int) else None


def remove_others(out: Path, names: set[str]) -> None:
    """All images are there; those of another job, over which they were made, are not of this one."""
    try:
        for path in files.below(out, "*.png") if files.read_sealed(out / MARK)[OVER] else ():
            if path.relative_to(out).as_posix() not in names:
                path.unlink()
    except OSError as e:
        raise files.unwritten(out, e) from e


def make_mark(tokens: Path, model: Path, options: DecodeOptions) -> dict[str, str]:
    """What decides the images. The decoder is hashed too: a fingerprint is of the encoder's side alone."""
    own = [tokens / INDEX] if files.is_folder(tokens) else [tokens, tokens.with_suffix(".json")]
    weights = [model / f"{name}.safetensors" for name in ("average", "model", "codebook")]
    return {"tokens": _hash(own), "model": _hash(weights), "precision": options.precision}


def _hash(paths: list[Path]) -> str:
    return hashlib.sha256("".join(files.sha256(p) for p in paths if files.exists(p)).encode()).hexdigest()


@torch.inference_mode()
def decode_rows(tokenizer: Tokenizer, rows: list[Row], precision: str, device: torch.device) -> torch.Tensor:
    """8-bit images (B, 3, H, W) of rows that share a grid. Raises VqcliError where they are NaN or Inf."""
    ids = torch.from_numpy(np.stack([row.ids for row in rows]).astype(np.int64)).to(device)
    (h, w), f = rows[0].grid[-1], tokenizer.downsample
    images = []
    for some in passes(len(rows), (h * f, w * f), device):
        with autocast(precision, device):
            made = tokenizer.decode(Tokens(ids[some], rows[0].grid))
        images.append(to_uint8(finite(made.float(), DECODED)).cpu())
    return torch.cat(images)


def check_tokens(found: TokensFile | TokensFolder, path: Path, tokenizer: Tokenizer, *, force: bool) -> None:
    """Raises VqcliError if the tokens are not this tokenizer's, or not tokens of its codebook."""
    spec = tokenizer.spec
    if found.info and found.info.fingerprint not in ("", spec.fingerprint) and not force:
        raise VqcliError(
            f"{path} is of tokenizer {found.info.fingerprint[:8]}, the model is {spec.fingerprint[:8]}",
            hint="give the tokenizer that made it with -m (a generator's lies in its folder), or --force",
            reason="fingerprint",
        )
    if isinstance(found, TokensFile) and not found.tells_grid and not force:
        check_shape(found, default_grid(tokenizer))
    if found.grid and not decodable(found.grid, tokenizer):
        sides = sides_of(found.grid)
        raise VqcliError(
            f"{path} holds {sides} tokens an image, which this model cannot decode",
            hint="give the model that made it with -m",
            reason="grid",
        )
    start = 0
    for block in found.blocks():
        check_range(path, block, start, spec.codebook_size, "give the model that made it with -m")
        start += len(block)


def check_usual(found: TokensFile | TokensFolder, path: Path, model: str | None) -> None:
    """Raises VqcliError where nobody names a model and the usual one cannot have made the tokens.

    That is looked at before anything is downloaded.
    """
    usual = ALIASES[DEFAULT]
    if model or os.environ.get(ENVIRONMENT) or not found.info or found.info.codebook_size == usual.codes:
        return
    made = f" {found.info.fingerprint[:8]}" if found.info.fingerprint else ""
    raise VqcliError(
        f"{path} is of tokenizer{made} with {found.info.codebook_size:,} codes; no model was named, and "
        f"{DEFAULT}, the usual one, has {usual.codes:,}",
        hint="give the tokenizer that made it with -m",
        reason="fingerprint",
    )


def check_shape(found: TokensFile, own: Grid | None) -> None:
    """Raises VqcliError if an array of which nothing tells the grid has another than the model's own.

    LlamaGen's code writes (1, crops, tokens) an image, which is no picture of that many rows.
    """
    if own is None or found.grid in (None, own):
        return
    shape, length = found.array.shape, grid_length(own)
    h, w = shape[1:]
    if len(own) == 1 and w == length:
        rows, columns = own[0]
        how = f"np.save('tokens.npy', np.load({str(found.path)!r}).reshape(-1, {rows}, {columns}))"
        hint = f"if it is LlamaGen's (1, crops, {length}), make each crop a picture: {how}"
    else:
        beside = found.path.with_suffix(".json").name
        hint = f'if its pictures have {h}x{w} tokens, write {{"grid": [[{h}, {w}]]}} to {beside}'
    raise VqcliError(
        f"{found.path} is {shape}, as of pictures of {h}x{w} tokens; the model was trained with "
        f"{sides_of(own)} ({length:,}), and nothing beside the array tells its grid",
        hint=f"{hint}; --force decodes {h}x{w} tokens a picture",
        reason="grid",
    )


def sides_of(grid: Grid) -> str:
    """A grid in words."""
    return " + ".join(f"{h}x{w}" for h, w in grid)


def default_grid(tokenizer: Tokenizer) -> Grid | None:
    """The grid of an image of the model's own size."""
    size = tokenizer.image_size
    return tokenizer.grid(*size) if size else None


def _named(rows: Iterator[Row]) -> Iterator[tuple[str, Row]]:
    """Rows with the names of their files: ``a/b.jpg`` is ``a/b.png``."""
    name = FileNames()
    for row in rows:
        yield name(row.key), row


def _batches(rows: Iterator[tuple[str, Row]], size: int) -> Iterator[list[tuple[str, Row]]]:
    """Consecutive rows of one grid, at most ``size``."""
    for _, same in groupby(rows, key=lambda item: item[1].grid):
        while batch := list(islice(same, size)):
            assert grid_length(batch[0][1].grid) == len(batch[0][1].ids)
            yield batch
