"""Make a frozen codebook: features of images, and as many centres of them as there are to be codes.

Paper: Zhu et al., "VQGAN-LC", https://arxiv.org/abs/2406.11837, section 3.2.
Shape letters: K codes, F width of the features.
"""

from __future__ import annotations

import json
import math
import struct
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.cluster import CodebookOptions, read_solved, remove_states, solve_all
from vqcli.jobs.devices import processes
from vqcli.jobs.feature_shards import (
    Extractor,
    FeatureStore,
    open_store,
    remove_shards,
    shard_files,
    write_shards,
)
from vqcli.types import Progress, silent

PLAN = "plan.json"


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
    start = time.monotonic()
    state = processes(options.source.device)
    leads, folder = state.is_main_process, out.with_name(f"{out.stem}.partial")
    if leads:
        check_out(out, folder, force=force)
    extractor = Extractor(options.source, state.local_process_index)
    classes = check_classes(options, extractor) if options.per_class else []
    with files.locked(folder) if leads else nullcontext():
        if leads:
            check_out(out, folder, force=force)  # another process may have come first
            begin(folder, make_plan(options, extractor), force=force)
        state.wait_for_everyone()
        mine = range(state.process_index, extractor.shards, state.num_processes)
        extract(extractor, folder, mine, progress)
        state.wait_for_everyone()
        store = open_store(folder, extractor.shards, extractor.vectors)
        solve_all(options, store, extractor, classes, progress)
        state.wait_for_everyone()
        solved = read_solved(folder, max(1, len(classes)))
        objective = math.fsum(solved.squares) / store.count
        metadata = describe(options, extractor, store, solved.iterations, objective)
        if leads:
            write_codes(out, torch.cat(solved.codes), metadata)
        state.wait_for_everyone()
        if leads:
            files.remove_folder(folder)
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
        hint = f"-o {out.with_suffix('.safetensors')}"
        raise VqcliError(f"{out} is no name of a safetensors file", hint=hint, reason="output")
    if (folder / PLAN).is_file():
        return  # begin() tells whether it is this job
    ours = (".lock", files.TEMPORARY)
    if folder.exists() and not (folder.is_dir() and all(p.name.startswith(ours) for p in folder.iterdir())):
        raise VqcliError(f"{folder} exists and holds no features", hint="give another -o", reason="exists")
    if out.is_dir() or (out.exists() and not force):
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
        raise VqcliError(message, hint=f"--codebook-size {nearest}", reason="config")
    return classes


def make_plan(options: CodebookOptions, extractor: Extractor) -> dict[str, Any]:
    """What decides the codes, as JSON values."""
    own = {"codes": options.size, "per_class": options.per_class, "iterations": options.iterations}
    return extractor.plan() | own | {"seed": options.seed}


def begin(folder: Path, plan: dict[str, Any], *, force: bool) -> None:
    """Write the plan, or check that the job found there has the same one."""
    files.clean(folder)
    if (folder / PLAN).is_file():
        found = files.read_json(folder / PLAN)
        if found == plan:
            return
        if not force:
            changed = [
                f"{name} {found.get(name)} -> {value}"
                for name, value in plan.items()
                if found.get(name) != value and name != "keys"
            ]
            raise VqcliError(
                f"{folder} holds another job: {', '.join(changed) or 'other images'}",
                hint="give another -o, or --force to start over",
                reason="changed",
            )
        remove_shards(folder)
        remove_states(folder)
    files.write_json(folder / PLAN, plan)


def extract(extractor: Extractor, folder: Path, shards: range, progress: Progress) -> None:
    """Make the shards of this process that are not there yet."""
    size = f"{extractor.count * extractor.vectors:,} vectors of {extractor.features.width}"
    progress.say(f"features: {size}, {extractor.bytes / 1e6:,.0f} MB in {folder}")
    todo = [k for k in shards if not shard_files(folder, k)[1].is_file()]
    done = sum(len(extractor.shard(k)) for k in shards if k not in todo)
    progress.start("features", sum(len(extractor.shard(k)) for k in shards), "images", done)
    write_shards(extractor, folder, todo, progress)


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
    header = json.dumps({"__metadata__": metadata, "codes": entry}).encode()
    header += b" " * (-len(header) % 8)
    files.write_bytes(path, struct.pack("<Q", len(header)) + header + data)
