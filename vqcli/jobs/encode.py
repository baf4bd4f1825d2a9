"""Turn images into tokens: sharded, resumable, every input accounted for.

Shape letters: B images of a batch, L tokens an image.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from vqcli import files
from vqcli.data import tokens as store
from vqcli.data.base import Source
from vqcli.data.loader import Batch, eval_batches
from vqcli.data.open import open_source
from vqcli.errors import VqcliError
from vqcli.jobs.models import Size, autocast, open_tokenizer, pick_device, target_size
from vqcli.pixels import CenterCrop, NativeCrop, normalize
from vqcli.tokenizers.base import Tokenizer
from vqcli.training.state import data_identity
from vqcli.types import Grid, Progress, silent

SHARD = 256
"""Images a shard holds at most, and so the work that a kill can cost a process."""


@dataclass(frozen=True)
class ImageOptions:
    """Images, and how a model looks at them: the same for every command that encodes."""

    images: str
    model: str | None = None
    size: Size | None = None
    """The model's own by default."""
    split: str | None = None
    limit: int | None = None
    batch_size: int = 32
    device: str | None = None
    precision: str = "fp32"
    num_workers: int = 2
    strict: bool = False
    """The first bad image is fatal."""


@dataclass(frozen=True)
class EncodeResult:
    """What a job came to."""

    out: Path
    model: Path
    encoded: int
    rejected: list[dict[str, str]]
    """Key and reason of every input that could not be used."""
    grid: list[list[int]] | None
    """Token layout of every image; None if they differ."""
    codebook_size: int
    seconds: float


class Encoder:
    """Images in, tokens out: a model with a source, at one size."""

    def __init__(self, options: ImageOptions, rank: int = 0) -> None:
        self.options = options
        self.device = pick_device(options.device, rank)
        self.tokenizer, self.folder = open_tokenizer(options.model, self.device)
        self.size = target_size(options.size, self.tokenizer)
        self.source: Source = open_source(options.images, split=options.split, size=self.size)
        self.count = min(len(self.source), options.limit or len(self.source))
        self.transform = CenterCrop(self.size) if self.size else NativeCrop(self.tokenizer.spec.downsample)

    @property
    def preprocessing(self) -> str:
        """How images come to the tokenizer's size, in words."""
        if self.size is None:
            return f"native: centre cut to a multiple of {self.tokenizer.spec.downsample}"
        return f"resize (bicubic) and centre crop to {self.size[0]}x{self.size[1]}"

    def batches(self, indices: np.ndarray) -> Iterator[tuple[Batch, dict[int, tuple[Grid, np.ndarray]]]]:
        """Every batch with the grid and tokens (L,) of its usable images. Raises BadImage if strict."""
        options = self.options
        for batch in eval_batches(
            self.source, indices, self.transform, options.batch_size, options.num_workers
        ):
            if batch.rejected and options.strict:
                raise batch.rejected[0]
            yield batch, encode_batch(self.tokenizer, batch, options.precision, self.device)


@torch.inference_mode()
def encode_batch(
    tokenizer: Tokenizer, batch: Batch, precision: str, device: torch.device
) -> dict[int, tuple[Grid, np.ndarray]]:
    """Grid and tokens (L,) of every image of a batch, by its index; images of one size share a pass."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for position, image in enumerate(batch.images):
        by_size.setdefault(tuple(image.shape), []).append(position)
    out = {}
    for positions in by_size.values():
        images = torch.stack([batch.images[p] for p in positions]).to(device)
        with autocast(precision, device):
            tokens = tokenizer.encode(normalize(images))
        for position, ids in zip(positions, tokens.ids.cpu().numpy()):
            out[batch.indices[position]] = (tokens.grid, ids)
    return out


def encode(
    options: ImageOptions, out: Path, *, force: bool = False, progress: Progress = silent
) -> EncodeResult:
    """Encode ``options.images`` into ``NAME.npy`` or a folder of shards, continuing what was interrupted.

    Raises VqcliError where nothing can be encoded or ``out`` holds something else.
    """
    start, state = time.monotonic(), PartialState(cpu=options.device == "cpu")
    as_array = out.suffix == ".npy"
    if as_array and options.size == "native":
        raise VqcliError(
            f"{out} holds images of one size only",
            hint="--size native needs a folder: -o tokens/",
            reason="size",
        )
    folder = out.with_name(f"{out.stem}.partial") if as_array else out
    encoder = Encoder(options, state.local_process_index)
    info = store.TokensInfo(
        encoder.tokenizer.spec.codebook_size, encoder.tokenizer.spec.fingerprint, encoder.preprocessing
    )
    if state.is_main_process:
        check_out(out, folder, force=force)
        begin(folder, make_plan(encoder, info), force=force)
    state.wait_for_everyone()
    batch = options.batch_size
    per_shard = batch * max(1, SHARD // batch)
    shards = -(-encoder.count // per_shard)
    mine = [
        k for k in range(state.process_index, shards, state.num_processes) if not store.shard_done(folder, k)
    ]
    progress.start("encode", encoder.count, "images")
    progress.advance(
        sum(len(_indices(encoder, k, per_shard)) for k in range(shards) if store.shard_done(folder, k))
    )
    write_shards(encoder, folder, mine, per_shard, progress)
    state.wait_for_everyone()
    index = store.totals(folder, shards)
    if state.is_main_process:
        finish(folder, out, info, index)
    state.wait_for_everyone()
    return EncodeResult(
        out,
        encoder.folder,
        index["encoded"],
        index["rejected"],
        index["grid"],
        info.codebook_size,
        time.monotonic() - start,
    )


def _indices(encoder: Encoder, shard: int, per_shard: int) -> np.ndarray:
    return np.arange(shard * per_shard, min((shard + 1) * per_shard, encoder.count))


def write_shards(
    encoder: Encoder, folder: Path, shards: list[int], per_shard: int, progress: Progress
) -> None:
    """Encode and commit shards one after the other."""
    if not shards:
        return
    todo = np.concatenate([_indices(encoder, k, per_shard) for k in shards])
    queue, size = iter(shards), encoder.tokenizer.spec.codebook_size
    lines: list[dict[str, Any]] = []
    rows: list[np.ndarray] = []
    shard = next(queue)
    for batch, encoded in encoder.batches(todo):
        reasons = {bad.key: bad for bad in batch.rejected}
        first = len(lines)
        for i in batch.all_indices:
            key, label = encoder.source.key(i), encoder.source.label(i)
            if i in encoded:
                grid, ids = encoded[i]
                rows.append(ids)
                lines.append({"key": key, "label": label, "grid": grid, "status": "ok"})
            else:
                bad = reasons[key]
                progress.say(f"rejected {bad}")
                lines.append(
                    {
                        "key": key,
                        "label": label,
                        "status": "rejected",
                        "reason": bad.reason,
                        "detail": bad.detail,
                    }
                )
        progress.advance(len(lines) - first)
        if len(lines) == len(_indices(encoder, shard, per_shard)):
            store.write_shard(folder, shard, lines, rows, size)
            lines, rows, shard = [], [], next(queue, -1)
    assert shard == -1, "every shard is written"


def make_plan(encoder: Encoder, info: store.TokensInfo) -> dict[str, Any]:
    """What decides the shards: two runs with the same plan write the same bytes."""
    options = encoder.options
    return {
        "format": 1,
        "tokens": asdict(info),
        "inputs": data_identity(encoder.source.key(i) for i in range(encoder.count)),
        "settings": {"batch_size": options.batch_size, "precision": options.precision, "size": encoder.size},
    }


def check_out(out: Path, folder: Path, *, force: bool) -> None:
    """Raises VqcliError if the place is taken by something that is not this job."""
    if out.suffix == ".npy":
        if out.exists() and not force:
            raise VqcliError(
                f"{out} exists already", hint="give another -o, or --force to replace it", reason="exists"
            )
    elif out.exists() and not (out.is_dir() and ((out / store.PLAN).is_file() or not any(out.iterdir()))):
        raise VqcliError(f"{out} exists and holds no tokens", hint="give another -o", reason="exists")


def begin(folder: Path, plan: dict[str, Any], *, force: bool) -> None:
    """Write the plan, or check that the job found there has the same one."""
    path = folder / store.PLAN
    if path.is_file():
        files.clean(folder)
        found = files.read_json(path)
        if _comparable(found) == _comparable(plan):
            return
        if not force:
            changed = [k for k in plan if _comparable(found).get(k) != _comparable(plan)[k]]
            raise VqcliError(
                f"{folder} holds another job's tokens (different {', '.join(changed)})",
                hint="give another -o, or --force to start over",
                reason="changed",
            )
        files.remove_folder(folder)
    files.write_json(path, plan)


def _comparable(plan: dict[str, Any]) -> dict[str, Any]:
    import json

    return json.loads(json.dumps(plan))


def finish(folder: Path, out: Path, info: store.TokensInfo, index: dict[str, Any]) -> None:
    """End the job in the form that was asked for. Raises VqcliError if no image could be used."""
    if not index["encoded"]:
        reasons = sorted({r["reason"] for r in index["rejected"]})
        raise VqcliError(
            f"none of {len(index['rejected'])} images could be used ({', '.join(reasons)})",
            hint=f"{folder} lists each with its reason",
            reason="input-empty",
        )
    if out != folder:
        store.assemble(folder, out, info, index)
        files.remove_folder(folder)
    else:
        store.write_index(folder, index)
