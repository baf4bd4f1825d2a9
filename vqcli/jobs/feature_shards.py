"""Features of many images on the disk, in shards: made once, continued after an interruption, read by blocks.

A shard is ``images-00000.json``, the labels of its usable images and the rejected ones, and
``vectors-00000.npy``, float16 (B, N, F), which is written last: it exists = the shard is done.
Shape letters: B images, N vectors an image, F width.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqcli import files
from vqcli.data.images.base import Source, identity
from vqcli.data.images.open import open_source
from vqcli.data.loader import Batch
from vqcli.errors import VqcliError
from vqcli.features.base import Features, pool, pooled_grid
from vqcli.jobs.devices import working_device
from vqcli.jobs.loading import load_batches
from vqcli.jobs.options import FeatureOptions
from vqcli.jobs.sharded import SHARD, Work
from vqcli.nn.kmeans import Vectors, held
from vqcli.pixels import CenterCrop, on_device
from vqcli.registry import known_parts, resolve
from vqcli.types import Progress


class Extractor:
    """Images in, vectors out, at one size."""

    def __init__(self, options: FeatureOptions, rank: int = 0) -> None:
        """Raises VqcliError where features or images cannot be had, or do not fit each other."""
        self.options = options
        self.device = working_device(options.device, rank)
        images = open_source(options.images, options.reading())  # before a model is fetched
        self.features = make_features(options).to(self.device)
        self.side = options.pool or self.features.POOL
        self.size = options.size or self.features.image_size
        try:
            self.grid = self.features.grid(*self.size)
            h, w = pooled_grid(self.grid, self.side)
        except ValueError as e:
            hint = "give another --size, --pool or --patch"
            raise VqcliError(f"no features of {_by(self.size)} pixels: {e}", hint=hint, reason="size") from e
        self.vectors = h * w
        """Vectors of an image."""
        self.source: Source = images.sized(self.size)
        self.count = min(len(self.source), options.limit or len(self.source))
        self.per_shard = options.batch_size * max(1, SHARD // options.batch_size)
        self.shards = -(-self.count // self.per_shard)

    @property
    def bytes(self) -> int:
        """What the vectors of all images take on the disk."""
        return self.count * self.vectors * self.features.width * 2

    def shard(self, k: int) -> np.ndarray:
        """Indices of the images of shard ``k``."""
        return np.arange(k * self.per_shard, min((k + 1) * self.per_shard, self.count))

    def plan(self) -> dict[str, Any]:
        """What decides the vectors, as JSON values."""
        return {
            "features": self.features.title,
            "pooling": self.side,
            "size": _by(self.size),
            "named": self.options.images,
            "split": self.options.split,
            "batch_size": self.options.batch_size,
            **self.options.reading().record(),
        } | identity(self.source.key(i) for i in range(self.count))

    def batches(self, indices: np.ndarray) -> Iterator[tuple[Batch, np.ndarray]]:
        """Every batch with the vectors (B, N, F) of its usable images. Raises BadImage if strict."""
        options = self.options
        for batch in load_batches(
            self.source, indices, CenterCrop(self.size), options.batch_size, options, self.device
        ):
            yield batch, self.extract(batch)

    @torch.inference_mode()
    def extract(self, batch: Batch) -> np.ndarray:
        """Vectors (B, N, F) of a batch's usable images. Raises VqcliError if float16 cannot hold them."""
        if not len(batch):
            return np.zeros((0, self.vectors, self.features.width), np.float16)
        images = on_device(batch.stacked(), self.device)
        vectors_bnf = pool(self.features(images), self.grid, self.side).half().cpu()
        if not vectors_bnf.isfinite().all():
            message = f"{self.features.title} has features beyond 65,504, or not numbers at all"
            raise VqcliError(message, hint="choose another model", reason="not-finite")
        return vectors_bnf.numpy()


def make_features(options: FeatureOptions) -> Features:
    """The features that are named, ready. Raises VqcliError if a model cannot be had."""
    chosen: dict[str, Any] = {"patch": options.patch} if options.features == "pixels" else {}
    known = known_parts("features")
    if options.features not in known:
        chosen = {"model": options.features}
    part = resolve("features", options.features if options.features in known else "vision")
    return part(part.Config(**chosen)).eval()


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def shard_files(folder: Path, k: int) -> tuple[Path, Path]:
    """The labels and the vectors of a shard."""
    return folder / f"images-{k:05d}.json", folder / f"vectors-{k:05d}.npy"


def check_vectors(folder: Path, k: int) -> None:
    """Raises VqcliError if the vectors of a shard are not those that were written."""
    side, array = shard_files(folder, k)
    listed = files.read_sealed(side, files.LISTS).get("sha256")  # older versions wrote none
    if listed and listed != files.hash_of(array):
        message = f"{array} is not what {side.name} says: it is damaged"
        raise VqcliError(message, hint="the same command makes it again", reason="damaged")


def remove_shards(folder: Path) -> None:
    """Delete all shards."""
    for path in (*files.children(folder, "vectors-*.npy"), *files.children(folder, "images-*.json")):
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class FeatureStore:
    """All shards of a job that has them all."""

    folder: Path
    labels: list[np.ndarray]
    """Labels of the usable images, int32, shard by shard; -1 where unknown."""
    rejected: list[dict[str, str]]
    per_image: int
    """Vectors of an image."""

    @property
    def images(self) -> int:
        """Usable images."""
        return sum(map(len, self.labels))

    @property
    def count(self) -> int:
        """All vectors."""
        return self.images * self.per_image

    def everything(self) -> Vectors:
        """All vectors; one shard is in memory at a time."""
        shards = [k for k, labels in enumerate(self.labels) if len(labels)]
        lengths = [len(self.labels[k]) * self.per_image for k in shards]
        return Vectors(lengths, lambda i: torch.from_numpy(self._open(shards[i]).copy()).flatten(0, 1))

    def of_class(self, label: int) -> Vectors:
        """The vectors of one class, in memory; of other images' nothing is read."""
        rows = [(k, np.flatnonzero(labels == label)) for k, labels in enumerate(self.labels)]
        parts = [self._open(k)[found] for k, found in rows if len(found)]
        none = np.zeros((0, self.per_image, 1), np.float16)
        return held(torch.from_numpy(np.concatenate(parts or [none])).flatten(0, 1))

    def _open(self, k: int) -> np.ndarray:
        return np.load(shard_files(self.folder, k)[1], mmap_mode="r")


class FeatureShards(Work[FeatureStore]):
    """Vectors of images to be made, in shards; they come to the store of all."""

    what = "features"

    def __init__(self, extractor: Extractor, folder: Path) -> None:
        self.extractor, self.folder, self.shards = extractor, folder, extractor.shards

    def size(self, k: int) -> int:
        return len(self.extractor.shard(k))

    def done(self, k: int) -> bool:
        if not files.is_file(shard_files(self.folder, k)[1]):
            return False
        check_vectors(self.folder, k)
        return True

    def do(self, shards: Sequence[int], progress: Progress) -> None:
        extractor, bad = self.extractor, 0
        batches = extractor.batches(np.concatenate([np.arange(0), *map(extractor.shard, shards)]))
        for k in shards:
            done = 0
            labels: list[int] = []
            parts: list[np.ndarray] = []
            rejected: list[dict[str, str]] = []
            while done < self.size(k):
                batch, vectors_bnf = next(batches)
                labels += batch.labels.tolist()
                parts.append(vectors_bnf)
                rejected += [image.record() for image in batch.rejected]
                done += len(batch.all_indices)
                progress.advance(len(batch.all_indices))
                if bad + len(rejected):
                    progress.show(rejected=bad + len(rejected))
            bad += len(rejected)
            side, array = shard_files(self.folder, k)
            vectors_bnf, head = np.ascontiguousarray(np.concatenate(parts)), io.BytesIO()
            np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(vectors_bnf))
            digest = hashlib.sha256(head.getvalue())
            digest.update(vectors_bnf.data)
            told = {"labels": labels, "rejected": rejected, "sha256": digest.hexdigest()}
            files.write_sealed(side, told)
            with files.writing(array) as file:
                file.write(head.getvalue())
                file.write(vectors_bnf.data)

    def finish(self) -> FeatureStore:
        """Open all shards. Raises VqcliError if no image could be used."""
        sides = [files.read_sealed(shard_files(self.folder, k)[0], files.LISTS) for k in range(self.shards)]
        rejected = [image for side in sides for image in side["rejected"]]
        labels = [np.array(side["labels"], np.int32) for side in sides]
        store = FeatureStore(self.folder, labels, rejected, self.extractor.vectors)
        if not store.images:
            reasons = ", ".join(sorted({image["reason"] for image in rejected}))
            hint = f"the images-*.json in {self.folder} list each with its reason"
            message = f"none of {len(rejected):,} images could be used ({reasons})"
            raise VqcliError(message, hint=hint, reason="input-empty")
        return store
