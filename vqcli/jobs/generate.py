"""Make images of classes: a PNG each, what made them, and a contact sheet.

Shape letters: N images, H, W sides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqcli import files
from vqcli.data.images.base import IMAGE_SUFFIXES
from vqcli.errors import VqcliError
from vqcli.jobs.devices import processes
from vqcli.jobs.npz import read_image, write_npz
from vqcli.jobs.sampler import IMAGE, GenerateOptions, Picture, Sampler, weights_hash
from vqcli.pixels import contact_sheet, to_pil, to_uint8
from vqcli.types import Progress, silent

FORMAT, SAMPLES = 1, "samples.json"
MARK = ".generate.json"
"""In a folder of images: what decides them, so that two settings never mix."""
SIDE = 10
"""Rows of the contact sheet, and images in a row, at most."""


@dataclass(frozen=True)
class GenerateResult:
    """What a job came to."""

    out: Path
    model: Path
    tokenizer: Path | None
    """None where tokens are kept."""
    classes: dict[int, str]
    """Number and name of every class that was meant; no name where nobody told it."""
    images: int
    kept: int
    """Images that were there already."""
    grid: list[list[int]]
    """Token layout of every image."""
    seconds: float
    tokens_per_second: float | None
    """Of all processes together, with decoding and writing; None where no tokens were made."""
    sheet: Path | None = None
    npz: Path | None = None


def generate(
    options: GenerateOptions, out: Path, *, npz: Path | None = None, progress: Progress = silent
) -> GenerateResult:
    """Write ``options.count`` PNGs of each class into a folder; those that are there stay as they are.

    Raises VqcliError where models and options do not fit, or ``out`` holds something else.
    """
    start, state = time.monotonic(), processes(options.device)
    leads, kept = state.is_main_process, 0
    if leads:
        check_out(out, npz, force=options.force)
    sampler = Sampler(options, state.local_process_index, progress)
    folder = sampler.add_tokenizer(progress)
    paths = {picture: out / sampler.file(picture) for picture in sampler.pictures}
    place = out if out.name else out.resolve()
    sheet = place.with_name(f"{place.name}-sheet.png")  # not among the images: they are for others to measure
    with files.locked(out) if leads else nullcontext():
        if leads:
            mark = make_mark(sampler, folder)
            begin(out, mark, list(paths.values()), force=options.force)
            kept = sum(path.exists() for path in paths.values())
        state.wait_for_everyone()
        began = time.monotonic()
        write_images(sampler, paths, (state.process_index, state.num_processes), progress)
        state.wait_for_everyone()
        made, seconds = (len(paths) - kept) * sampler.effort, time.monotonic() - began
        if leads:
            describe(sampler, folder, mark, out)
            write_sheet(sampler, paths, sheet)
            if npz:
                write_npz(npz, list(paths.values()), sampler.size)
        state.wait_for_everyone()
    return GenerateResult(
        out,
        sampler.folder,
        folder,
        sampler.asked,
        len(paths),
        kept,
        [list(sides) for sides in sampler.generator.grid],
        time.monotonic() - start,
        made / seconds if made and sampler.generator.makes == "tokens" else None,
        sheet,
        npz,
    )


def check_out(out: Path, npz: Path | None, *, force: bool) -> None:
    """Raises VqcliError if ``out`` is no name of a folder, or ``npz`` is taken."""
    if out.suffix.lower() in IMAGE_SUFFIXES | {".npy", ".npz"} and not out.is_dir():
        hint = "give a folder; --npz also makes one file of all images, --tokens-only one of their tokens"
        raise VqcliError(f"{out} is no name of a folder for images", hint=hint, reason="output")
    if out.exists() and not out.is_dir():
        raise VqcliError(f"{out} is no folder", hint="give another -o", reason="exists")
    if npz and (npz.is_dir() or (npz.exists() and not force)):
        raise VqcliError(
            f"{npz} exists already", hint="give another --npz, or --force to replace it", reason="exists"
        )


def make_mark(sampler: Sampler, tokenizer: Path) -> dict[str, Any]:
    """What decides the images of a folder; their names tell class, seed and index."""
    settings = {name: value for name, value in sampler.settings.items() if name != "seed"}
    return settings | {"tokenizer": weights_hash(tokenizer)}


def begin(out: Path, mark: dict[str, Any], paths: Sequence[Path], *, force: bool) -> None:
    """Take a folder for images of ``mark``, ``paths`` among them. Raises VqcliError if it holds others."""
    files.clean(out)
    found = files.read_json(out / MARK) if (out / MARK).is_file() else None
    if found == mark:
        return
    if any(entry.name != ".lock" for entry in out.iterdir()):
        if not force:
            hint = "give another -o, or --force to make these images instead"
            raise VqcliError(f"{out} holds {_differences(found, mark)}", hint=hint, reason="exists")
        ours = out.iterdir() if found is not None else paths
        for path in ours:
            if IMAGE.fullmatch(path.name):
                path.unlink(missing_ok=True)
        (out / SAMPLES).unlink(missing_ok=True)
    files.write_json(out / MARK, mark)


def _differences(found: Any, mark: dict[str, Any]) -> str:
    """``images of another job: cfg 1.0 -> 2.0, ...``, hashes cut short."""
    if not isinstance(found, dict):
        return "other files"
    changed = [name for name in mark if found.get(name) != mark[name]]
    told = ", ".join(f"{name} {str(found.get(name))[:8]} -> {str(mark[name])[:8]}" for name in changed)
    return f"images of another job: {told}"


def write_images(
    sampler: Sampler, paths: dict[Picture, Path], share: tuple[int, int], progress: Progress
) -> None:
    """Make what is missing of this process's ``share`` (rank, processes), each image written whole."""
    rank, processes = share
    mine = sampler.pictures[rank::processes]
    todo = [picture for picture in mine if not paths[picture].exists()]
    done = len(mine) - len(todo)
    what = f"generate (process 1 of {processes})" if processes > 1 else "generate"
    before = done * sampler.effort
    progress.start(what, before + sampler.work(len(todo)), sampler.generator.UNIT, before)
    for some, tokens in sampler.batches(todo, progress):
        for picture, image in zip(some, to_uint8(sampler.decode(tokens))):
            files.write_image(paths[picture], to_pil(image))
        done += len(some)
        progress.show(images=done)


def describe(sampler: Sampler, tokenizer: Path, mark: dict[str, Any], out: Path) -> None:
    """Write what made the images of a folder, those of earlier commands too: enough to make each again."""
    matches = [m for m in map(IMAGE.fullmatch, _names(out)) if m]
    found = sorted((int(m[2]), int(m[3]), int(m[1]), m[0]) for m in matches)
    labels, options = sorted({label for _, _, label, _ in found}), sampler.options
    record = {
        "format": FORMAT,
        "model": options.model or str(sampler.folder),
        "tokenizer": options.tokenizer or str(tokenizer),
        "sha256": {"model": mark["model"], "tokenizer": mark["tokenizer"]},
        "fingerprint": sampler.tokenizer.spec.fingerprint,
        "sampling": sampler.sampling.model_dump(mode="json"),
        "precision": options.precision,
        "classes": {label: sampler.names.get(label) for label in labels},
    }
    rows = earlier_batches(out / SAMPLES)
    images = [
        {"file": name, "class": label, "name": sampler.names.get(label), "seed": seed, "index": index}
        | {"batch_size": rows.get(name, sampler.rows)}
        for seed, index, label, name in found
    ]
    files.write_json(out / SAMPLES, record | {"images": images})


def earlier_batches(path: Path) -> dict[str, int]:
    """Of the images of earlier commands, how many were made at a time, by name: rounding depends on it."""
    listed = files.read_json(path)["images"] if path.is_file() else []
    return {image["file"]: image["batch_size"] for image in listed}


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def write_sheet(sampler: Sampler, paths: dict[Picture, Path], path: Path) -> None:
    """Write some of the images as one picture."""
    shown, columns = sheet_layout(sampler.labels, sampler.options.count)
    images = np.stack([read_image(paths[picture], sampler.size) for picture in shown])
    files.write_image(path, contact_sheet(torch.from_numpy(images).permute(0, 3, 1, 2), columns))


def sheet_layout(labels: Sequence[int], count: int) -> tuple[list[Picture], int]:
    """What a sheet shows of ``count`` images of each class, and its columns.

    A few classes have rows of their own; of many, the first share rows where one does not fill them.
    """
    across = min(count, SIDE)
    down = min(count // across, max(1, SIDE // len(labels)))
    beside = SIDE // across if len(labels) > SIDE else 1
    shown = [Picture(label, i) for label in labels[: SIDE * beside] for i in range(across * down)]
    return shown, across * beside
