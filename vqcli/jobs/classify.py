"""Tell the classes of images: sharded, resumable, every input accounted for.

Shape letters: B images of a batch, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from vqcli import files
from vqcli.data.images.base import Told, identity
from vqcli.data.images.open import open_source
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs.devices import working_device
from vqcli.jobs.judge import Asked, likeliest, open_judge
from vqcli.jobs.loading import load_batches
from vqcli.jobs.options import ClassifyOptions
from vqcli.jobs.places import vacant
from vqcli.jobs.plans import PLAN, Plan
from vqcli.jobs.predictions import FORMS, Line, write_predictions
from vqcli.jobs.sharded import SHARD, Engine, Work
from vqcli.library.find import model_folder
from vqcli.library.references import check_named
from vqcli.pixels import CenterCrop
from vqcli.types import Progress, silent

SHOWN = 10
"""Predictions that a result holds: the first of them."""


@dataclass(frozen=True)
class ClassifyResult:
    """What a job came to."""

    out: Path
    model: Path
    images: int
    """Whose classes were told."""
    classes: int
    """That the classifier knows."""
    top: int
    """Classes that are told of each."""
    first: list[Line]
    """The first lines of ``out``, of images that could be used."""
    rejected: list[dict[str, str]]
    """Key and reason of every input that could not be used."""
    seconds: float
    told: Told
    """What was left out, and how the images were read."""
    images_per_second: float | None = None
    """Of all processes together; None if nothing was left to do."""


def classify(
    options: ClassifyOptions, out: Path, *, force: bool = False, progress: Progress = silent
) -> ClassifyResult:
    """Write the likeliest classes of ``options.images``, continuing what was interrupted.

    Raises VqcliError where nothing can be classified or ``out`` is taken.
    """
    start, engine = time.monotonic(), Engine(options.device, progress)
    folder = out.with_name(f"{out.name}.partial")
    check = partial(check_free, out, folder, force=force)
    engine.free(out, folder, check)
    work = engine.each(lambda: Classifying(options, out, engine.local_rank, progress))
    with engine.taking(folder, lambda: work.plan, check, force=force, becomes=out):
        left = engine.first(lambda: sum(work.size(k) for k in range(work.shards) if not work.there(k)))
        began = time.monotonic()
        first, rejected = engine.run(work, progress)
        speed = left / (time.monotonic() - began) if left else None
    return ClassifyResult(
        out=out,
        model=work.judge.folder,
        images=work.count - len(rejected),
        classes=work.judge.classes,
        top=work.top,
        first=first,
        rejected=rejected,
        seconds=time.monotonic() - start,
        told=work.source.told,
        images_per_second=speed,
    )


def check_free(out: Path, folder: Path, *, force: bool) -> None:
    """Raises VqcliError if ``out`` is no name of a table, or taken, or ``folder`` holds something else."""
    if out.suffix.lower() not in FORMS:
        message = f"{out} does not tell its form by its name"
        raise VqcliError(message, hint=f"end it in {' or '.join(FORMS)}", reason="output")
    if files.is_file(folder / PLAN):
        return  # begin() tells whether it is this job
    if files.exists(folder) and not (files.is_folder(folder) and vacant(folder)):
        message = f"{folder} exists and holds no predictions"
        raise VqcliError(message, hint="give another -o", reason="exists")
    if files.is_folder(out) or (files.exists(out) and not force):
        hint = "give another -o, or --force to replace it"
        raise VqcliError(f"{out} exists already", hint=hint, reason="exists")


class Classifying(Work[tuple[list[Line], list[dict[str, str]]]]):
    """Images whose classes are told, in shards; they come to first lines, and what could not be used."""

    what = "classify"

    def __init__(self, options: ClassifyOptions, out: Path, rank: int, progress: Progress) -> None:
        self.options, self.out, self.device = options, out, working_device(options.device, rank)
        self.folder = out.with_name(f"{out.name}.partial")
        check_named(options.classifier)
        images = open_source(options.images, options.reading(), progress)  # before a model is fetched
        asked = Asked(options.classifier, options.tokenizer, options.precision)
        folder = model_folder(options.classifier, progress)
        self.judge = open_judge(folder, asked, self.device, progress=progress)
        self.source, self.names = images.sized(self.judge.size), self.judge.names
        self.count, self.top = (
            min(len(images), options.limit or len(images)),
            min(options.top, self.judge.classes),
        )
        self.per_shard = options.batch_size * max(1, SHARD // options.batch_size)
        self.shards = -(-self.count // self.per_shard)

    @cached_property
    def plan(self) -> Plan:
        """What decides the predictions."""
        options = self.options
        inputs = {"named": options.images, "split": options.split, **options.reading().record()}
        inputs |= identity(self.source.key(i) for i in range(self.count))
        settings = {"batch_size": options.batch_size, "top": self.top}
        values = {"inputs": inputs, "settings": settings} | self.judge.plan()
        return Plan(
            values,
            clear=remove_shards,
            holds="predictions of another job",
            unsaid=("keys",),
            otherwise="other images",
        )

    def shard(self, k: int) -> np.ndarray:
        """Indices of the images of shard ``k``."""
        return np.arange(k * self.per_shard, min((k + 1) * self.per_shard, self.count))

    def size(self, k: int) -> int:
        return len(self.shard(k))

    def place(self, k: int) -> Path:
        """The file of shard ``k``."""
        return self.folder / f"lines-{k:05d}.json"

    def there(self, k: int) -> bool:
        """Whether the file of shard ``k`` is, whole or not."""
        return files.is_file(self.place(k))

    def done(self, k: int) -> bool:
        return self.there(k) and len(self.lines(k)) == self.size(k)

    def lines(self, k: int) -> list[Line]:
        """A line an input. Raises VqcliError if the shard is damaged."""
        found: list[Line] = files.read_sealed(self.place(k), files.LISTS)["lines"]
        return found

    def do(self, shards: Sequence[int], progress: Progress) -> None:
        options, rejected = self.options, 0
        items = np.concatenate([np.arange(0), *map(self.shard, shards)])
        transform = CenterCrop(self.judge.size)
        batches = load_batches(self.source, items, transform, options.batch_size, options, self.device)
        for k in shards:
            found: dict[int, np.ndarray] = {}
            bad: dict[str, BadImage] = {}
            done = 0
            while done < self.size(k):
                batch = next(batches)
                found |= self.judge.look(batch)
                bad |= {image.key: image for image in batch.rejected}
                done += len(batch.all_indices)
                progress.advance(len(batch.all_indices))
                if rejected + len(bad):
                    progress.show(rejected=rejected + len(bad))
            rejected += len(bad)
            files.write_sealed(self.place(k), {"lines": self.describe(self.shard(k), found, bad)})

    def describe(
        self, items: np.ndarray, found: Mapping[int, np.ndarray], bad: Mapping[str, BadImage]
    ) -> list[Line]:
        """A line for every input."""
        lines: list[Line] = []
        for i in items.tolist():
            key = self.source.key(i)
            if i not in found:
                why = bad[key]
                lines.append({"key": key, "status": "rejected", "reason": why.reason, "detail": why.detail})
                continue
            best = likeliest(found[i][None], self.top)[0].tolist()
            told = [self.guess(label, float(found[i][label])) for label in best]
            lines.append({"key": key, "status": "ok", "predictions": told})
        return lines

    def guess(self, label: int, probability: float) -> Line:
        """A class with its name, where it has one, and how likely it is."""
        name = self.names[label] if label < len(self.names) else ""
        return {"class": label, "name": name, "probability": round(probability, 6)}

    def finish(self) -> tuple[list[Line], list[dict[str, str]]]:
        """Write all lines where they were asked for. Raises VqcliError if no image could be used."""
        rejected: list[dict[str, str]] = []
        first: list[Line] = []
        for k in range(self.shards):
            for line in self.lines(k):
                if line["status"] != "ok":
                    rejected.append({name: line[name] for name in ("key", "reason", "detail")})
                elif len(first) < SHOWN:
                    first.append(line)
        if not first:
            reasons = sorted({bad["reason"] for bad in rejected})
            message = f"none of {len(rejected)} images could be used ({', '.join(reasons)})"
            raise VqcliError(message, hint="are they images, and whole?", reason="input-empty")
        files.clean_beside(self.out)
        write_predictions(self.out, (line for k in range(self.shards) for line in self.lines(k)), self.top)
        files.remove_folder(self.folder)
        return first, rejected


def remove_shards(folder: Path) -> None:
    """Delete what a job with another plan has left."""
    for path in files.children(folder, "lines-*.json"):
        path.unlink()
