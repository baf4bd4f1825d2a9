"""The k-means of a codebook, one or one for each class: stored as they go, and continued from there.

Shape letters: K codes, F width of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.feature_shards import Extractor, FeatureStore
from vqcli.jobs.options import CodebookOptions
from vqcli.jobs.sharded import Work
from vqcli.nn.kmeans import Clusters, KMeans, KMeansOptions, Vectors
from vqcli.types import Progress, silent


@dataclass(frozen=True)
class Solved:
    """What all k-means of a codebook came to."""

    iterations: int
    """Of the one that had most."""
    squares: list[float]
    """Sum of squared distances of each one's vectors."""


class Clustering(Work[Solved]):
    """k-means as shards: its state with the sum of squared distances is a shard that is done."""

    what = "k-means"

    def __init__(self, options: CodebookOptions, store: FeatureStore, extractor: Extractor) -> None:
        self.options, self.store, self.extractor = options, store, extractor

    def done(self, k: int) -> bool:
        path = state_file(self.store.folder, k)
        return files.is_file(path) and "squares" in files.load_sealed(path)[0]

    def kmeans(self, vectors: Vectors, size: int) -> KMeans:
        """A k-means with ``size`` centres."""
        wanted = KMeansOptions(size, self.options.iterations, self.options.seed)
        return KMeans(vectors, wanted, self.extractor.device, together=self.together)

    def solve(self, k: int, kmeans: KMeans, of: str, progress: Progress) -> None:
        """Run a k-means to its end; one on all processes together is stored after every iteration.

        Raises VqcliError where there are too few vectors ``of`` something.
        """
        path, leads = state_file(self.store.folder, k), kmeans.rank == 0
        kmeans.advance, storing = progress.advance, leads and self.together
        clusters = load_state(path)
        if clusters is None:
            clusters = start(kmeans, of, progress)
            if storing:
                save_state(path, clusters)
        progress.advance(kmeans.work(0) - kmeans.work(len(clusters.objectives)))
        while not kmeans.finished(clusters):
            clusters = kmeans.step(clusters)
            progress.show(iteration=len(clusters.objectives), objective=clusters.objectives[-1])
            if storing:
                save_state(path, clusters)
        objective = kmeans.measure(clusters)
        if leads:
            save_state(path, clusters, objective * kmeans.vectors.count)

    def finish(self) -> Solved:
        states = (files.load_sealed(state_file(self.store.folder, k))[0] for k in range(self.shards))
        found = [(len(state["objectives"]), state["squares"].item()) for state in states]
        return Solved(max(iterations for iterations, _ in found), [squares for _, squares in found])


class Whole(Clustering):
    """One k-means of all vectors, on all processes together."""

    unit, shards, together = "vectors", 1, True

    @cached_property
    def problem(self) -> KMeans:
        """The k-means."""
        return self.kmeans(self.store.everything(), self.options.size)

    def size(self, k: int) -> int:
        return self.problem.work(0)

    def do(self, shards: Sequence[int], progress: Progress) -> None:
        for k in shards:
            self.solve(k, self.problem, self.options.source.images, progress)


class PerClass(Clustering):
    """A k-means for each class, each on one process."""

    unit = "classes"

    def __init__(
        self, options: CodebookOptions, store: FeatureStore, extractor: Extractor, classes: list[int]
    ) -> None:
        super().__init__(options, store, extractor)
        self.classes, self.shards = classes, len(classes)

    def size(self, k: int) -> int:
        return 1

    def do(self, shards: Sequence[int], progress: Progress) -> None:
        names = self.extractor.source.classes
        for k in shards:
            label = self.classes[k]
            kmeans = self.kmeans(self.store.of_class(label), self.options.size // self.shards)
            self.solve(k, kmeans, f"class {names[label] if label < len(names) else label}", silent)
            progress.advance(1)


def start(kmeans: KMeans, of: str, progress: Progress) -> Clusters:
    """The first centres. Raises VqcliError where there are too few vectors ``of`` something."""
    try:
        sample = f"{len(kmeans.sample_sf):,} of {kmeans.vectors.count:,} vectors"
        progress.say(f"k-means++ start over {sample}")
        return kmeans.start()
    except ValueError as e:
        hint = "fewer codes (--codebook-size), or more images"
        raise VqcliError(f"too few vectors in {of}: {e}", hint=hint, reason="input-empty") from e


def state_file(folder: Path, number: int) -> Path:
    """Where a k-means is stored."""
    return folder / f"kmeans-{number:05d}.safetensors"


def remove_states(folder: Path) -> None:
    """Delete all that is stored of k-means."""
    for path in files.children(folder, "kmeans-*.safetensors"):
        path.unlink()


def save_state(path: Path, clusters: Clusters, squares: float | None = None) -> None:
    """Store a k-means, with the sum of its squared distances where it is done."""
    numbers = {"objectives": torch.tensor(clusters.objectives, dtype=torch.float64)}
    if squares is not None:
        numbers["squares"] = torch.tensor(squares, dtype=torch.float64)
    flags = {name: torch.tensor(getattr(clusters, name)) for name in ("whole", "settled")}
    files.write_tensors(path, {"codes": clusters.codes_kf} | flags | numbers, seal=True)


def load_state(path: Path) -> Clusters | None:
    """A stored k-means; None where there is none, or it is damaged."""
    if not files.is_file(path):
        return None
    try:
        found, _ = files.load_sealed(path)
    except VqcliError as e:
        if e.reason != "damaged":
            raise
        return None
    objectives = found["objectives"].tolist()
    return Clusters(found["codes"], objectives, bool(found["whole"]), bool(found["settled"]))


def read_codes(folder: Path, count: int) -> Tensor:
    """The codes (K, F) of all ``count`` k-means, in their order."""
    return torch.cat([files.load_sealed(state_file(folder, k))[0]["codes"] for k in range(count)])
