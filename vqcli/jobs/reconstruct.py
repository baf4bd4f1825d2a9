"""What a tokenizer makes of images: each beside its original, and alone, in files named by their keys.

Shape letters: B images of a batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from vqcli import files
from vqcli.data.images.base import IMAGE_SUFFIXES, identity
from vqcli.data.images.open import open_source
from vqcli.errors import BadImage, VqcliError
from vqcli.files import ImageWriter
from vqcli.jobs.devices import working_device
from vqcli.jobs.evaluation.outputs import evened
from vqcli.jobs.file_names import FileNames
from vqcli.jobs.loading import load_batches
from vqcli.jobs.options import ImageOptions
from vqcli.jobs.places import check_folder, made, vacant
from vqcli.jobs.plans import Plan
from vqcli.jobs.sampler import weights_hash
from vqcli.jobs.sharded import Engine, Work
from vqcli.library.open import open_tokenizer
from vqcli.library.references import check_named
from vqcli.nn.precision import DECODED, autocast, finite
from vqcli.pixels import CenterCrop, NativeCrop, contact_sheet, on_device, to_pil, to_tensor, to_uint8
from vqcli.tokenizers.sizes import check_size, target_size
from vqcli.types import Progress, silent

ALONE, BESIDE, SHEET = "reconstructions", "side-by-side", "sheet.png"
"""Folders of reconstructions, and of originals with these to their right; a picture of some of the latter."""
MARK, NOTES = ".reconstruct.json", ".rejected-*.json"
"""What decides the images, so that two settings never mix; and lists of what could not be used."""
SHOWN, ACROSS, APART, LARGEST = 24, 3, 8, (1024, 512)
"""Pairs on the sheet at most, and in a row; pixels between these; width and height of one at most."""


@dataclass(frozen=True)
class ReconstructResult:
    """What a job came to."""

    out: Path
    model: Path
    images: int
    """Made by this command."""
    kept: int
    """Images that were there already, from a job that was interrupted."""
    size: list[int] | None
    """(height, width) in pixels; None where every image keeps its own."""
    rejected: list[dict[str, str]]
    """Key and reason of every input that could not be used."""
    sheet: Path
    seconds: float
    images_per_second: float | None
    """Of all processes together; None if nothing was left to do."""


def reconstruct(
    options: ImageOptions, out: Path, *, force: bool = False, progress: Progress = silent
) -> ReconstructResult:
    """Write what a tokenizer makes of ``options.images``, continuing an interrupted job.

    Raises VqcliError where nothing can be reconstructed, or ``out`` holds something else.
    """
    start, engine = time.monotonic(), Engine(options.device, progress)
    engine.first(partial(check_free, out, (), force=force))
    work = engine.each(lambda: Reconstructing(options, out, engine.local_rank, progress))
    check = partial(check_free, out, work.paths, force=force)
    with engine.taking(out, lambda: work.plan, check, force=force):
        kept = engine.first(lambda: sum(map(work.made, range(work.count))))
        began = time.monotonic()
        rejected = engine.run(work, progress)
        images, seconds = work.count - len(rejected) - kept, time.monotonic() - began
    return ReconstructResult(
        out,
        work.folder,
        images,
        kept,
        list(work.side) if work.side else None,
        rejected,
        out / SHEET,
        time.monotonic() - start,
        images / seconds if images else None,
    )


def check_free(out: Path, paths: Sequence[str], *, force: bool) -> None:
    """Raises VqcliError if ``out`` holds other files than a job's; ``force`` removes images at ``paths``."""
    if out.suffix.lower() in IMAGE_SUFFIXES and not files.is_folder(out):
        message = f"{out} is no name of a folder for images"
        raise VqcliError(message, hint="give a folder: -o reconstructed", reason="output")
    check_folder(out)
    if not files.exists(out) or files.is_file(out / MARK) or vacant(out):
        return
    if not force:
        hint = "give another -o, or --force to write there"
        raise VqcliError(f"{out} holds other files", hint=hint, reason="exists")
    for name in paths:
        for folder in (ALONE, BESIDE):
            (out / folder / name).unlink(missing_ok=True)


def remove_images(out: Path) -> None:
    """Delete what a job with other settings has left."""
    made = (path for folder in (ALONE, BESIDE) for path in files.below(out / folder, "*.png"))
    for path in [*made, *files.children(out, NOTES)]:
        path.unlink()


def pictures(out: Path) -> int | None:
    """How many a finished job has: two of each image that could be used, and the sheet. Raises VqcliError."""
    inputs = files.read_sealed(out / MARK, files.LISTS).get("inputs")
    if not (isinstance(inputs, dict) and isinstance(inputs.get("images"), int)):
        return None
    notes = (files.read_sealed(found, files.LISTS)["rejected"] for found in files.children(out, NOTES))
    return 2 * (inputs["images"] - sum(map(len, notes))) + 1


class Reconstructing(Work[list[dict[str, str]]]):
    """Images to be reconstructed, a batch a shard; they come to the list of those that could not be used."""

    what = "reconstruct"

    def __init__(self, options: ImageOptions, out: Path, rank: int, progress: Progress) -> None:
        self.options, self.out, self.device = options, out, working_device(options.device, rank)
        check_named(options.model)
        images = open_source(options.images, options.reading(), progress)  # before a model is fetched
        self.tokenizer, self.folder = open_tokenizer(options.model, self.device, progress)
        self.side = target_size(options.size, self.tokenizer)
        self.source = images.sized(self.side)
        self.count = min(len(images), options.limit or len(images))
        self.shards = -(-self.count // options.batch_size)
        name = FileNames()
        self.paths = [name(self.source.key(i)) for i in range(self.count)]
        downsample = self.tokenizer.spec.downsample
        self.transform = CenterCrop(self.side) if self.side else NativeCrop(downsample)

    @cached_property
    def plan(self) -> Plan:
        """What decides the images."""
        options = self.options
        inputs = {"named": options.images, "split": options.split, **options.reading().record()}
        inputs |= identity(self.source.key(i) for i in range(self.count))
        settings = {"precision": options.precision, "batch_size": options.batch_size}
        values = {"inputs": inputs, "size": self.side and list(self.side), "settings": settings}
        return Plan(
            values | {"model": weights_hash(self.folder)},
            clear=remove_images,
            holds="images of another job",
            unsaid=("keys",),
            otherwise="other images",
            file=MARK,
        )

    def shard(self, k: int) -> np.ndarray:
        """Indices of the images of shard ``k``."""
        size = self.options.batch_size
        return np.arange(k * size, min((k + 1) * size, self.count))

    def size(self, k: int) -> int:
        return len(self.shard(k))

    def made(self, i: int) -> bool:
        """Whether both files of an image are there, whole."""
        return all(files.is_file(path) and files.whole_image(path) for path in self.files(i))

    def files(self, i: int) -> list[Path]:
        """Of an image: alone, and beside its original."""
        return [self.out / folder / self.paths[i] for folder in (ALONE, BESIDE)]

    def done(self, k: int) -> bool:
        return all(made(path) for i in self.shard(k).tolist() for path in self.files(i))

    def do(self, shards: Sequence[int], progress: Progress) -> None:
        options, rejected = self.options, 0
        items = np.concatenate([np.arange(0), *map(self.shard, shards)])
        batches = load_batches(self.source, items, self.transform, options.batch_size, options, self.device)
        with ImageWriter() as writer:
            for k, batch in zip(shards, batches):
                for indices, images in batch.by_size():
                    self._write(indices, images, writer)
                self._note(k, batch.rejected)
                rejected += len(batch.rejected)
                progress.advance(len(batch.all_indices))
                if rejected:
                    progress.show(rejected=rejected)

    @torch.inference_mode()
    def _write(self, indices: np.ndarray, images: Tensor, writer: ImageWriter) -> None:
        """Write both files of those images, uint8 (B, 3, H, W), that are not there: all are computed."""
        check_size(self.tokenizer, *images.shape[2:])
        with autocast(self.options.precision, self.device):
            made, _ = self.tokenizer.roundtrip(on_device(images, self.device))
        for i, image, again in zip(indices.tolist(), images, to_uint8(finite(made.float(), DECODED)).cpu()):
            if not self.made(i):
                writer.write(self.out / ALONE / self.paths[i], to_pil(again))
                pair = contact_sheet(torch.stack([image, again]), 2)
                writer.write(self.out / BESIDE / self.paths[i], pair)

    def _note(self, k: int, rejected: Sequence[BadImage]) -> None:
        """Write down what of a shard could not be used; it is tried again by each command."""
        path = self.out / f".rejected-{k:06d}.json"
        if rejected:
            files.write_sealed(path, {"rejected": [bad.record() for bad in rejected]})
        else:
            path.unlink(missing_ok=True)

    def finish(self) -> list[dict[str, str]]:
        noted = (files.read_sealed(found, files.LISTS) for found in files.children(self.out, NOTES))
        rejected = [bad for each in noted for bad in each["rejected"]]
        if len(rejected) == self.count:
            message = f"none of {self.count:,} images could be used ({rejected[0]['reason']})"
            raise VqcliError(message, hint="are they images, and whole?", reason="input-empty")
        files.clean(self.out, f"**/{files.TEMPORARY}*")
        pairs = list(self._some())
        files.write_image(self.out / SHEET, contact_sheet(evened(pairs), min(ACROSS, len(pairs))))
        return rejected

    def _some(self) -> Iterator[Tensor]:
        """Pairs from all over the set, uint8 (3, H, W)."""
        there = [i for i in range(self.count) if self.made(i)]
        for at in np.unique(np.linspace(0, len(there) - 1, SHOWN).astype(int)).tolist():
            with Image.open(self.out / BESIDE / self.paths[there[at]]) as pair:
                pair.thumbnail(LARGEST)
                yield F.pad(to_tensor(pair), (0, APART), value=255)
