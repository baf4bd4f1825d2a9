"""The k-means of a codebook, one or one for each class: stored as they go, and continued from there.

Shape letters: K codes, F width of the features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.feature_shards import Extractor, FeatureOptions, FeatureStore
from vqcli.nn.kmeans import Clusters, KMeans, KMeansOptions, Vectors
from vqcli.types import Progress, silent


@dataclass(frozen=True)
class CodebookOptions:
    """What decides a codebook."""

    source: FeatureOptions
    size: int = 4096
    """Codes K."""
    per_class: bool = False
    """Every class has its own k-means and as many codes, as published."""
    iterations: int = 20
    """Lloyd's iterations at most."""
    seed: int = 0


@dataclass(frozen=True)
class Problem:
    """One k-means: all vectors, or those of a class."""

    number: int
    vectors: Vectors
    name: str = ""
    """Of the class."""


@dataclass
class Solved:
    """What all problems came to."""

    codes: list[Tensor] = field(default_factory=list)
    iterations: int = 0
    squares: list[float] = field(default_factory=list)
    """Sum of squared distances of each problem's vectors."""


def solve_all(
    options: CodebookOptions,
    store: FeatureStore,
    extractor: Extractor,
    classes: list[int],
    progress: Progress,
) -> None:
    """Run every k-means that is not done: one for all processes together, or each class on one of them."""
    if not classes:
        solve(options, store.folder, Problem(0, store.everything()), extractor.device, progress)
        return
    state = PartialState()
    mine = range(state.process_index, len(classes), state.num_processes)
    progress.start("k-means", len(mine), "classes")
    for i in mine:
        if not state_file(store.folder, i).is_file():
            names = extractor.source.classes
            name = names[classes[i]] if classes[i] < len(names) else str(classes[i])
            problem = Problem(i, store.of_class(classes[i]), name)
            solve(options, store.folder, problem, extractor.device, silent, options.size // len(classes))
        progress.advance(1)


def solve(
    options: CodebookOptions,
    folder: Path,
    problem: Problem,
    device: torch.device,
    progress: Progress,
    size: int | None = None,
) -> None:
    """Run one k-means to its end; the one of all vectors is stored after every iteration.

    ``size`` is given for a class, which one process solves alone. Raises VqcliError where there are too few
    vectors.
    """
    path, together = state_file(folder, problem.number), size is None
    wanted = KMeansOptions(size or options.size, options.iterations, options.seed)
    kmeans = KMeans(problem.vectors, wanted, device, together=together, advance=progress.advance)
    clusters = load_state(path) if path.is_file() else None
    leads = kmeans.rank == 0
    try:
        progress.start("k-means", kmeans.work(0), "vectors")
        if clusters is None:
            progress.say(
                f"k-means++ start over {len(kmeans.sample_sf):,} of {problem.vectors.count:,} vectors"
            )
            clusters = kmeans.start()
            if together and leads:
                save_state(path, clusters)
    except ValueError as e:
        of = f"class {problem.name}" if problem.name else options.source.images
        hint = "fewer codes (--codebook-size), or more images"
        raise VqcliError(f"too few vectors in {of}: {e}", hint=hint, reason="too-few") from e
    progress.advance(kmeans.work(0) - kmeans.work(len(clusters.objectives)))
    while not kmeans.finished(clusters):
        clusters = kmeans.step(clusters)
        progress.show(iteration=len(clusters.objectives), objective=clusters.objectives[-1])
        if together and leads:
            save_state(path, clusters)
    objective = kmeans.measure(clusters)
    if leads:
        save_state(path, clusters, objective * problem.vectors.count)


def state_file(folder: Path, number: int) -> Path:
    """Where a k-means is stored."""
    return folder / f"kmeans-{number:05d}.safetensors"


def remove_states(folder: Path) -> None:
    """Delete all that is stored of k-means."""
    for path in folder.glob("kmeans-*.safetensors"):
        path.unlink()


def save_state(path: Path, clusters: Clusters, squares: float | None = None) -> None:
    """Store a k-means, with the sum of its squared distances where it is done."""
    numbers = {"objectives": torch.tensor(clusters.objectives, dtype=torch.float64)}
    if squares is not None:
        numbers["squares"] = torch.tensor(squares, dtype=torch.float64)
    flags = {name: torch.tensor(getattr(clusters, name)) for name in ("whole", "settled")}
    files.write_tensors(path, {"codes": clusters.codes_kf} | flags | numbers)


def load_state(path: Path) -> Clusters:
    """A stored k-means. Raises VqcliError if the file is damaged."""
    found = _load(path)
    objectives = found["objectives"].tolist()
    return Clusters(found["codes"], objectives, bool(found["whole"]), bool(found["settled"]))


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as e:
        hint = f"delete {path} and run the same command again"
        raise VqcliError(f"cannot read {path}: {e}", hint=hint, reason="damaged") from e


def read_solved(folder: Path, problems: int) -> Solved:
    """What all k-means came to, in their order."""
    solved = Solved()
    for number in range(problems):
        found = _load(state_file(folder, number))
        solved.codes.append(found["codes"])
        solved.squares.append(found["squares"].item())
        solved.iterations = max(solved.iterations, len(found["objectives"]))
    return solved
