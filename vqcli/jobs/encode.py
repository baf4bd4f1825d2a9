"""Turn images into tokens: sharded, resumable, every input accounted for.

Shape letters: L tokens an image.
"""

from __future__ import annotations

import glob
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqcli import files
from vqcli.data.images.base import identity
from vqcli.data.tokens import store
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs.devices import processes
from vqcli.jobs.encoder import Encoder, ImageOptions
from vqcli.types import Grid, Progress, silent

Encoded = dict[int, tuple[Grid, np.ndarray]]
"""Grid and tokens (L,) of items, by index."""


@dataclass(frozen=True)
class EncodeResult:
    """What a job came to."""

    out: Path
    model: Path
    encoded: int
    """Images; each is a row, or one for each of its views."""
    views: int
    rejected: list[dict[str, str]]
    """Key and reason of every input that could not be used."""
    grid: list[list[int]] | None
    """Token layout of every image; None if they differ."""
    codebook_size: int
    seconds: float


def encode(
    options: ImageOptions, out: Path, *, force: bool = False, progress: Progress = silent
) -> EncodeResult:
    """Encode ``options.images`` into ``NAME.npy`` or a folder of shards, continuing what was interrupted.

    Raises VqcliError where nothing can be encoded or ``out`` holds something else.
    """
    start, state = time.monotonic(), processes(options.device)
    leads = state.is_main_process
    folder = out.with_name(f"{out.stem}.partial") if out.suffix == ".npy" else out
    check_form(options, out)
    if leads:
        check_out(out, folder, force=force)
    encoder = Encoder(options, state.local_process_index, progress)
    with files.locked(folder) if leads else nullcontext():
        if leads:
            check_out(out, folder, force=force)  # another process may have come first
            begin(folder, make_plan(encoder), force=force)
        state.wait_for_everyone()
        mine = range(state.process_index, encoder.shards, state.num_processes)
        todo = [k for k in mine if not store.shard_done(folder, k)]
        share = f" (process 1 of {state.num_processes})" if state.num_processes > 1 else ""
        unit = "images" if encoder.views == 1 else "views"
        done = sum(len(encoder.shard(k)) for k in mine if k not in todo)
        progress.start(f"encode{share}", sum(len(encoder.shard(k)) for k in mine), unit, done)
        write_shards(encoder, folder, todo, progress)
        state.wait_for_everyone()
        index = store.totals(folder, encoder.shards)
        if leads:
            finish(folder, out, encoder.info, index)
        state.wait_for_everyone()
    return EncodeResult(
        out,
        encoder.folder,
        index["encoded"] // encoder.views,
        encoder.views,
        index["rejected"],
        index["grid"],
        encoder.info.codebook_size,
        time.monotonic() - start,
    )


def write_shards(encoder: Encoder, folder: Path, shards: list[int], progress: Progress) -> None:
    """Encode and commit shards one after the other, in one stream of batches: loading never pauses."""
    batches = encoder.batches(np.concatenate([np.arange(0), *map(encoder.shard, shards)]))
    rejected = 0
    for k in shards:
        done = 0
        encoded: Encoded = {}
        bad: dict[str, BadImage] = {}
        while done < len(encoder.shard(k)):
            batch, ids = next(batches)
            encoded |= ids
            bad |= {image.key: image for image in batch.rejected}
            done += len(batch.all_indices)
            progress.advance(len(batch.all_indices))
            if rejected + len(bad):
                progress.show(rejected=rejected + len(bad))
        rejected += len(bad)
        lines, rows = describe(encoder, encoder.shard(k), encoded, bad)
        store.write_shard(folder, k, lines, rows, encoder.tokenizer.spec.codebook_size)


def describe(
    encoder: Encoder, items: np.ndarray, encoded: Encoded, bad: dict[str, BadImage]
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """A line for every view of a usable image and one for any other, and the tokens of the former."""
    lines: list[dict[str, Any]] = []
    rows: list[np.ndarray] = []
    source, images = encoder.source, encoder.images
    for views in items.reshape(-1, encoder.views).tolist():
        if all(i in encoded for i in views):
            for i in views:
                place = {"key": source.key(i), "label": source.label(i)}
                lines.append(place | {"grid": encoded[i][0], "status": "ok"})
                rows.append(encoded[i][1])
        else:
            image = views[0] // encoder.views
            place = {"key": images.key(image), "label": images.label(image)}
            why = bad[images.key(image)]
            lines.append(place | {"status": "rejected", "reason": why.reason, "detail": why.detail})
    return lines, rows


def make_plan(encoder: Encoder) -> dict[str, Any]:
    """What decides the shards, as JSON values: two jobs with the same plan write the same bytes."""
    options = encoder.options
    keys = (encoder.images.key(i) for i in range(encoder.count // encoder.views))
    return {
        "format": store.FORMAT,
        "tokens": encoder.info.record(),
        "inputs": {"named": options.images, "split": options.split, **identity(keys)},
        "settings": {"batch_size": options.batch_size, "precision": options.precision},
    }


def check_form(options: ImageOptions, out: Path) -> None:
    """Raises VqcliError if images of many sizes are to go into one array."""
    if out.suffix == ".npy" and options.size == "native":
        raise VqcliError(
            f"{out} holds images of one size only",
            hint="--size native needs a folder: -o tokens/",
            reason="size",
        )


def check_out(out: Path, folder: Path, *, force: bool) -> None:
    """Raises VqcliError if the place is taken by something that is not a job of ours."""
    if (folder / store.PLAN).is_file():
        return  # begin() tells whether it is this job
    if folder.exists() and not (folder.is_dir() and all(map(_passing, folder.iterdir()))):
        raise VqcliError(f"{folder} exists and holds no tokens", hint="give another -o", reason="exists")
    for path in (out, out.with_suffix(".json")) if out != folder else ():
        if path.is_dir() or (path.exists() and not force):
            raise VqcliError(
                f"{path} exists already", hint="give another -o, or --force to replace it", reason="exists"
            )


def _passing(path: Path) -> bool:
    return path.name == ".lock" or path.name.startswith(files.TEMPORARY)


def begin(folder: Path, plan: dict[str, Any], *, force: bool) -> None:
    """Write the plan, or check that the job found there has the same one."""
    files.clean(folder)
    if (folder / store.PLAN).is_file():
        found = files.read_json(folder / store.PLAN)
        if found == plan:
            return
        if not force:
            raise VqcliError(
                f"{folder} holds tokens of another job: {_differences(found, plan)}",
                hint="give another -o, or --force to start over",
                reason="changed",
            )
        store.remove_shards(folder)
    files.write_json(folder / store.PLAN, plan)


def _differences(found: Any, plan: dict[str, Any]) -> str:
    """``batch_size 16 -> 32, ...``, hashes cut short."""
    parts = [
        found.get(name, {}) if isinstance(found, dict) else {} for name in ("tokens", "inputs", "settings")
    ]
    old = {name: value for part in parts for name, value in part.items()}
    new = plan["tokens"] | plan["inputs"] | plan["settings"]
    changed = [name for name in new if old.get(name) != new[name]]
    return (
        ", ".join(f"{name} {_short(old.get(name))} -> {_short(new[name])}" for name in changed)
        or "its format"
    )


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} names"
    return value[:8] if isinstance(value, str) and len(value) == 64 else str(value)


def finish(folder: Path, out: Path, info: store.TokensInfo, index: dict[str, Any]) -> None:
    """End the job in the form that was asked for. Raises VqcliError if no image could be used."""
    if not index["encoded"]:
        reasons = sorted({r["reason"] for r in index["rejected"]})
        raise VqcliError(
            f"none of {len(index['rejected'])} images could be used ({', '.join(reasons)})",
            hint=f"{folder} lists each with its reason",
            reason="input-empty",
        )
    if out == folder:
        store.write_index(folder, index)
        return
    for path in (out, out.with_suffix(".json")):
        for left in out.parent.glob(f"{files.TEMPORARY}*-{glob.escape(path.name[-40:])}"):
            left.unlink()  # of a job that was killed right here
    store.assemble(folder, out, info, index)
    files.remove_folder(folder)
