"""Turn images into tokens: sharded, resumable, every input accounted for.

Shape letters: L tokens an image.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vqcli.data.images.base import Told, identity
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs.encoder import Encoder
from vqcli.jobs.options import ImageOptions
from vqcli.jobs.plans import Plan
from vqcli.jobs.sharded import Engine, whole
from vqcli.jobs.token_shards import Place, TokenShards, token_plan
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
    """0 where latents are kept."""
    seconds: float
    width: int | None = None
    """Of latents; None where tokens are kept."""
    extras: dict[str, int] = field(default_factory=dict)
    """Fields that were to be kept, and how many images have each."""
    told: Told = field(default_factory=Told)
    """What was left out, and how the images were read."""
    images_per_second: float | None = None
    """Of all processes together, of what this command did; None if nothing was left to do."""


def encode(
    options: ImageOptions, out: Path, *, force: bool = False, progress: Progress = silent
) -> EncodeResult:
    """Encode ``options.images`` into ``NAME.npy`` or a folder of shards, continuing what was interrupted.

    Raises VqcliError where nothing can be encoded or ``out`` holds something else.
    """
    start, engine = time.monotonic(), Engine(options.device, progress)
    check_form(options, out)
    place = Place(out)
    check = partial(place.check, force=force)
    engine.free(out, place.folder, check)
    encoder = engine.each(lambda: Encoder(options, engine.local_rank, progress))
    with engine.taking(place.folder, lambda: make_plan(encoder), check, force=force, becomes=out):
        work = Encoding(encoder, place)
        left = engine.first(lambda: sum(work.size(k) for k in range(work.shards) if not whole(work, k)))
        began = time.monotonic()
        index = engine.run(work, progress)
        speed = left / encoder.views / (time.monotonic() - began) if left else None
    return EncodeResult(
        out,
        encoder.folder,
        index["encoded"] // encoder.views,
        encoder.views,
        index["rejected"],
        index["grid"],
        getattr(encoder.info, "codebook_size", 0),
        time.monotonic() - start,
        getattr(encoder.info, "width", None),
        {name: count // encoder.views for name, count in index.get("extras", {}).items()},
        encoder.images.told,
        speed,
    )


class Encoding(TokenShards):
    """Images to be encoded, in shards."""

    what = "encode"

    def __init__(self, encoder: Encoder, place: Place) -> None:
        super().__init__(place, encoder.info, encoder.shards, encoder.images.told)
        self.encoder, self.unit = encoder, "images" if encoder.views == 1 else "views"

    def size(self, k: int) -> int:
        return len(self.encoder.shard(k))

    def do(self, shards: Sequence[int], progress: Progress) -> None:
        encoder, rejected = self.encoder, 0
        batches = encoder.batches(np.concatenate([np.arange(0), *map(encoder.shard, shards)]))
        for k in shards:
            done = 0
            encoded: Encoded = {}
            extras: dict[int, Mapping[str, Any]] = {}
            bad: dict[str, BadImage] = {}
            while done < self.size(k):
                batch, ids = next(batches)
                encoded |= ids
                extras |= zip(batch.indices, batch.extras)
                bad |= {image.key: image for image in batch.rejected}
                done += len(batch.all_indices)
                progress.advance(len(batch.all_indices))
                if rejected + len(bad):
                    progress.show(rejected=rejected + len(bad))
            rejected += len(bad)
            self.write(k, *describe(encoder, encoder.shard(k), encoded, extras, bad))


def describe(
    encoder: Encoder,
    items: np.ndarray,
    encoded: Encoded,
    extras: Mapping[int, Mapping[str, Any]],
    bad: Mapping[str, BadImage],
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """A line for every view of a usable image and one for any other, and the tokens of the former."""
    lines: list[dict[str, Any]] = []
    rows: list[np.ndarray] = []
    source, images = encoder.source, encoder.images
    for views in items.reshape(-1, encoder.views).tolist():
        if all(i in encoded for i in views):
            for i in views:
                place: dict[str, Any] = {"key": source.key(i), "label": source.label(i)}
                if encoder.options.keep:
                    place["extras"] = extras[i]
                lines.append(place | {"grid": encoded[i][0], "status": "ok"})
                rows.append(encoded[i][1])
        else:
            image = views[0] // encoder.views
            place = {"key": images.key(image), "label": images.label(image)}
            why = bad[images.key(image)]
            lines.append(place | {"status": "rejected", "reason": why.reason, "detail": why.detail})
    return lines, rows


def make_plan(encoder: Encoder) -> Plan:
    """What decides the shards: two jobs with the same plan write the same bytes."""
    options = encoder.options
    keys = (encoder.images.key(i) for i in range(encoder.count // encoder.views))
    inputs = {"named": options.images, "split": options.split, **identity(keys)}
    inputs |= replace(options.reading(), keep_profile=False).record()  # ``preprocessing`` tells of it
    settings = {"batch_size": options.batch_size, "precision": options.precision}
    return token_plan(encoder.info, inputs, settings)


def check_form(options: ImageOptions, out: Path) -> None:
    """Raises VqcliError if images of many sizes, or latents, are to go into one array."""
    if out.suffix == ".npy" and options.latents:
        message = f"{out} is for tokens: latents are kept in shards"
        raise VqcliError(message, hint="--latents needs a folder: -o latents/", reason="output")
    if out.suffix == ".npy" and options.size == "native":
        raise VqcliError(
            f"{out} holds images of one size only",
            hint="--size native needs a folder: -o tokens/",
            reason="size",
        )
