"""Make images of classes: a PNG each, what made them, and a contact sheet.

Shape letters: N images, H, W sides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqcli import files
from vqcli.data.images.base import IMAGE_SUFFIXES
from vqcli.errors import VqcliError
from vqcli.jobs.npz import read_image, write_npz
from vqcli.jobs.options import GenerateOptions
from vqcli.jobs.places import check_folder, made, vacant
from vqcli.jobs.plans import Plan
from vqcli.jobs.sampler import IMAGE, Picture, Sampler, weights_hash
from vqcli.jobs.sharded import Engine, Work, whole
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
    """Made by this command."""
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
    engine = Engine(options.device, progress)
    beside = [sheet_path(out), *([npz] if npz else [])]
    with engine.claiming(beside, lambda: check_out(out, npz, force=options.force)):
        return _generate(engine, options, out, npz, progress)


def _generate(
    engine: Engine, options: GenerateOptions, out: Path, npz: Path | None, progress: Progress
) -> GenerateResult:
    start = time.monotonic()
    sampler = engine.each(lambda: Sampler(options, engine.local_rank, progress))
    folder = engine.each(lambda: sampler.add_tokenizer(progress))
    work = Imaging(sampler, out, folder, npz)
    check = partial(check_free, out, work.paths, force=options.force)
    with engine.taking(out, lambda: work.plan, check, force=options.force):
        work.kept = engine.first(lambda: sum(whole(work, k) for k in range(work.shards)))
        seconds = engine.run(work, progress)
    images = work.shards - work.kept
    made = images * sampler.effort
    return GenerateResult(
        out,
        sampler.folder,
        folder,
        sampler.asked,
        images,
        work.kept,
        [list(sides) for sides in sampler.generator.grid],
        time.monotonic() - start,
        made / seconds if made and sampler.generator.makes == "tokens" else None,
        work.sheet,
        npz,
    )


def check_out(out: Path, npz: Path | None, *, force: bool) -> None:
    """Raises VqcliError if ``out`` is no name of a folder, or ``npz`` is taken."""
    if out.suffix.lower() in IMAGE_SUFFIXES | {".npy", ".npz"} and not files.is_folder(out):
        hint = "give a folder; --npz also makes one file of all images, --tokens-only one of their tokens"
        raise VqcliError(f"{out} is no name of a folder for images", hint=hint, reason="output")
    check_folder(out)
    if npz and (files.is_folder(npz) or (files.exists(npz) and not force)):
        raise VqcliError(
            f"{npz} exists already", hint="give another --npz, or --force to replace it", reason="exists"
        )


def sheet_path(out: Path) -> Path:
    """Where the contact sheet lies: not among the images, which are for others to measure."""
    place = files.placed(out)
    return place.with_name(f"{place.name}-sheet.png")


def make_plan(sampler: Sampler, tokenizer: Path) -> Plan:
    """What decides the images of a folder, so that settings never mix; names tell class, seed and index."""
    settings = {name: value for name, value in sampler.settings.items() if name != "seed"}
    if not sampler.options.quantize:
        settings["quantize"] = False
    hint = "give another -o, or --force to make these images instead"
    return Plan(
        settings | {"tokenizer": weights_hash(tokenizer)},
        clear=lambda out: remove(out, files.children(out)),
        holds="images of another job",
        hint=hint,
        reason="exists",
        file=MARK,
    )


def check_free(out: Path, paths: Sequence[Path], *, force: bool) -> None:
    """Raises VqcliError if a folder holds other files than a job's; ``force`` removes images at ``paths``."""
    if files.is_file(out / MARK) or vacant(out):
        return
    if not force:
        hint = "give another -o, or --force to make these images instead"
        raise VqcliError(f"{out} holds other files", hint=hint, reason="exists")
    remove(out, paths)


def remove(out: Path, paths: Sequence[Path]) -> None:
    """Delete those ``paths`` that are images as they are named here, and their record."""
    for path in (*paths, out / SAMPLES):
        if IMAGE.fullmatch(path.name) or path.name == SAMPLES:
            path.unlink(missing_ok=True)


class Imaging(Work[float]):
    """Pictures to be made, each a shard and a file; they come to the seconds that it took."""

    what = "generate"
    kept = 0
    """Images that were there already."""

    def __init__(self, sampler: Sampler, out: Path, tokenizer: Path, npz: Path | None) -> None:
        self.sampler, self.out, self.tokenizer, self.npz = sampler, out, tokenizer, npz
        self.unit = sampler.generator.UNIT
        self.paths = [out / sampler.file(picture) for picture in sampler.pictures]
        self.shards = len(self.paths)
        self.sheet = sheet_path(out)

    @cached_property
    def plan(self) -> Plan:
        """What decides the images."""
        return make_plan(self.sampler, self.tokenizer)

    def size(self, k: int) -> int:
        return self.sampler.effort

    def effort(self, shards: Sequence[int]) -> int:
        return self.sampler.work(len(shards))

    def done(self, k: int) -> bool:
        return made(self.paths[k])

    def do(self, shards: Sequence[int], progress: Progress) -> None:
        self.began, done, sampler = time.monotonic(), 0, self.sampler
        with files.ImageWriter() as writer:
            for some, drawn in sampler.batches([sampler.pictures[k] for k in shards], progress):
                for k, image in zip(shards[done:], to_uint8(sampler.decode(drawn)[: len(some)])):
                    writer.write(self.paths[k], to_pil(image))
                done += len(some)
                progress.show(images=self.kept + done)

    def finish(self) -> float:
        seconds = time.monotonic() - self.began
        describe(self.sampler, self.tokenizer, self.plan.values, self.out)
        write_sheet(self.sampler, dict(zip(self.sampler.pictures, self.paths)), self.sheet)
        if self.npz:
            write_npz(self.npz, self.paths, self.sampler.size)
        return seconds


def describe(sampler: Sampler, tokenizer: Path, mark: dict[str, Any], out: Path) -> None:
    """Write what made the images of a folder, those of earlier commands too: enough to make each again."""
    matches = [m for path in files.children(out) if (m := IMAGE.fullmatch(path.name))]
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
    files.write_sealed(out / SAMPLES, record | {"images": images})


def earlier_batches(path: Path) -> dict[str, int]:
    """Of the images of earlier commands, how many were made at a time, by name: rounding depends on it."""
    listed = files.read_sealed(path, files.LISTS)["images"] if files.is_file(path) else []
    return {image["file"]: image["batch_size"] for image in listed}


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
