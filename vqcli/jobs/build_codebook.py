"""Make a frozen codebook: features of images, and as many centres of them as there are to be codes.

Paper: Zhu et al., "VQGAN-LC", https://arxiv.org/abs/2406.11837, section 3.2.
Shape letters: K codes, F width of the features.
"""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.cluster import PerClass, Whole, read_codes, remove_states
from vqcli.jobs.feature_shards import Extractor, FeatureShards, FeatureStore, remove_shards
from vqcli.jobs.options import CodebookOptions
from vqcli.jobs.places import vacant
from vqcli.jobs.plans import PLAN, Plan
from vqcli.jobs.sharded import Engine
from vqcli.types import Progress, silent


@dataclass(frozen=True)
class CodebookResult:
    """What a job came to."""

    out: Path
    codes: int
    width: int
    features: str
    pooling: int
    images: int
    """Usable ones."""
    vectors: int
    classes: int
    """With codes of their own; 0 where all share theirs."""
    iterations: int
    """Done; the most of any class."""
    objective: float
    """Mean squared distance of a vector to its code."""
    rejected: list[dict[str, str]]
    seconds: float


def build_codebook(
    options: CodebookOptions, out: Path, *, force: bool = False, progress: Progress = silent
) -> CodebookResult:
    """Write ``codes`` (K, F) to a safetensors file, continuing what was interrupted.

    Raises VqcliError where no such codebook can be made, or ``out`` holds something else.
    """
    engine = Engine(options.source.device, progress)
    folder = files.placed(out).with_name(f"{out.stem}.partial")
    check = partial(check_out, out, folder, force=force)
    engine.free(out, folder, check)
    with engine.claiming([out], check):
        return _build(engine, options, out, check, force=force, progress=progress)


def _build(
    engine: Engine,
    options: CodebookOptions,
    out: Path,
    check: Callable[[], None],
    *,
    force: bool,
    progress: Progress,
) -> CodebookResult:
    start, folder = time.monotonic(), out.with_name(f"{out.stem}.partial")
    extractor = engine.each(lambda: Extractor(options.source, engine.local_rank))
    classes = check_classes(options, extractor) if options.per_class else []
    with engine.taking(folder, lambda: make_plan(options, extractor), check, force=force):
        for line in extractor.source.told.lines():
            progress.say(f"{options.source.images}: {line}")
        size = f"{extractor.count * extractor.vectors:,} vectors of {extractor.features.width}"
        progress.say(f"features: {size}, {extractor.bytes / 1e6:,.0f} MB in {folder}")
        store = engine.run(FeatureShards(extractor, folder), progress)
        kmeans = PerClass(options, store, extractor, classes) if classes else Whole(options, store, extractor)
        solved = engine.run(kmeans, progress)
        objective = math.fsum(solved.squares) / store.count
        metadata = describe(options, extractor, store, solved.iterations, objective)
        engine.first(lambda: write_codes(out, read_codes(folder, kmeans.shards), metadata))
        engine.first(lambda: files.remove_folder(folder))
    return CodebookResult(
        out,
        options.size,
        extractor.features.width,
        extractor.features.title,
        extractor.side,
        store.images,
        store.count,
        len(classes),
        solved.iterations,
        objective,
        store.rejected,
        time.monotonic() - start,
    )


def check_out(out: Path, folder: Path, *, force: bool) -> None:
    """Raises VqcliError if the place is taken by something that is not a job of ours."""
    if out.suffix != ".safetensors":
        hint = f"-o {files.placed(out).with_suffix('.safetensors')}"
        raise VqcliError(f"{out} is no name of a safetensors file", hint=hint, reason="output")
    if files.is_file(folder / PLAN):
        return  # begin() tells whether it is this job
    if files.exists(folder) and not (files.is_folder(folder) and vacant(folder)):
        raise VqcliError(f"{folder} exists and holds no features", hint="give another -o", reason="exists")
    if files.is_folder(out) or (files.exists(out) and not force):
        hint = "give another -o, or --force to replace it"
        raise VqcliError(f"{out} exists already", hint=hint, reason="exists")


def check_classes(options: CodebookOptions, extractor: Extractor) -> list[int]:
    """The labels that images have, in order. Raises VqcliError if K codes are not theirs in equal parts."""
    found = {extractor.source.label(i) for i in range(extractor.count)}
    if None in found:
        hint = "leave --per-class out, or sort the images into folders named after classes"
        raise VqcliError(
            f"not every image of {options.source.images} has a class", hint=hint, reason="labels"
        )
    classes = sorted(label for label in found if label is not None)
    if options.size % len(classes):
        nearest = max(1, options.size // len(classes)) * len(classes)
        message = f"{options.size:,} codes are not divisible by {len(classes):,} classes"
        raise VqcliError(message, hint=f"--codebook-size {nearest}", reason="option")
    return classes


def make_plan(options: CodebookOptions, extractor: Extractor) -> Plan:
    """What decides the codes."""
    own = {"codes": options.size, "per_class": options.per_class, "iterations": options.iterations}
    values = extractor.plan() | own | {"seed": options.seed}
    return Plan(values, remove_all, unsaid=("keys",), otherwise="other images")


def remove_all(folder: Path) -> None:
    """Delete all features and all that is stored of k-means."""
    remove_shards(folder)
    remove_states(folder)


def describe(
    options: CodebookOptions, extractor: Extractor, store: FeatureStore, iterations: int, objective: float
) -> dict[str, str]:
    """What the file tells of itself."""
    facts = {
        "features": extractor.features.title,
        "pooling": extractor.side,
        "image_size": "x".join(map(str, extractor.size)),
        "images": options.source.images,
        "split": options.source.split or "",
        "image_count": store.images,
        "vectors": store.count,
        "codes": options.size,
        "per_class": json.dumps(options.per_class),
        "seed": options.seed,
        "iterations": iterations,
        "objective": repr(objective),
    }
    return {name: str(value) for name, value in facts.items()}


def write_codes(path: Path, codes_kf: Tensor, metadata: dict[str, str]) -> None:
    """A safetensors file with ``codes``. Its own library writes metadata in any order; this one has one."""
    data = codes_kf.contiguous().numpy().astype("<f4").tobytes()
    entry = {"dtype": "F32", "shape": list(codes_kf.shape), "data_offsets": [0, len(data)]}
    told = metadata | {"seal": "0" * 64}
    header = json.dumps({"__metadata__": told, "codes": entry}).encode()
    header += b" " * (-len(header) % 8)
    files.write_bytes(path, files.seal_tensors(struct.pack("<Q", len(header)) + header + data))
