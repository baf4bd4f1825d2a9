"""Measure a tokenizer's reconstructions, a generator's samples, or images, under a protocol that has a name.

Several processes share the work; a killed evaluation continues where it was last saved.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vqcli import __version__, files
from vqcli.checkpoint.card import record_measured
from vqcli.data.decoding.colour import COLOURS_KEPT
from vqcli.errors import VqcliError, suggestion
from vqcli.jobs.devices import working_device
from vqcli.jobs.evaluation.blocks import Blocks, left, starts
from vqcli.jobs.evaluation.checks import check_given, check_network, check_places, check_record, check_same
from vqcli.jobs.evaluation.enough import judge
from vqcli.jobs.evaluation.measuring import Measuring, View, choose, open_measuring
from vqcli.jobs.evaluation.mistakes import per_class
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.jobs.evaluation.outputs import FILES, usage_record, worst, write_results, write_statistics
from vqcli.jobs.evaluation.parts import Part, collect, drop_damaged, finished, next_command, part_file
from vqcli.jobs.evaluation.result import EvaluateResult
from vqcli.jobs.evaluation.target import Target, open_target
from vqcli.jobs.evaluation.work import Given, Stretch
from vqcli.jobs.places import together
from vqcli.jobs.plans import Plan
from vqcli.jobs.sharded import Engine
from vqcli.library.cache import cache_folder
from vqcli.metrics.protocols import PROTOCOLS, Protocol
from vqcli.types import Progress, silent

PAIRED = ("psnr", "ssim", "lpips")
"""What is measured of two sets of images that are compared one by one."""
KIND = "evaluations-1"
"""The cache's folder of unfinished evaluations."""


@dataclass(frozen=True)
class _Prepared:
    """All that is decided before the work begins."""

    options: EvaluateOptions
    target: Target
    protocol: Protocol
    measuring: Measuring
    stretches: list[Stretch]

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What decides the outcome, as JSON values."""
        plan = {
            "target": self.target.plan,
            "stretches": {stretch.what: stretch.plan() for stretch in self.stretches},
            "protocol": asdict(self.protocol),
            "metrics": self.measuring.configs(),
            "networks": self.measuring.networks,
            "statistics": hash_of_arrays(self.target.statistics),
            "batch_size": self.options.batch_size,
            "strict": self.options.strict,
            "version": __version__,
        }
        return json.loads(json.dumps(plan))  # as it is when it is read again: no tuples


def evaluate(
    options: EvaluateOptions, out: Path | None = None, *, force: bool = False, progress: Progress = silent
) -> EvaluateResult:
    """Measure ``options.target``; into the folder ``out`` go the result, pictures, and a line an image.

    Raises VqcliError where nothing can be measured, weights cannot be had, or ``out`` is taken.
    """
    engine = Engine(options.device, progress)
    places = [place for place in (out, options.statistics) if place]

    def check() -> None:
        files.clean(cache_folder() / KIND)  # finished evaluations whose folders could not be removed
        stopped = options.statistics is not None and files.is_file(placing(options.statistics))
        check_places(options, out, force=force, stopped=stopped)

    with engine.claiming(places, check):
        return _evaluate(engine, options, out, progress)


def _evaluate(
    engine: Engine, options: EvaluateOptions, out: Path | None, progress: Progress
) -> EvaluateResult:
    prepared = engine.each(lambda: prepare(options, engine.local_rank, progress))
    measured = engine.first(lambda: list(prepared.measuring.metrics))
    engine.each(lambda: check_same(prepared.measuring, measured))
    folder = engine.first(lambda: work_folder(prepared.plan))  # clocks of several machines differ
    with engine.taking(folder, lambda: Plan(prepared.plan), lambda: None):  # named after its plan
        engine.first(lambda: drop_damaged(folder, progress))
        done, command = engine.first(lambda: (finished(folder), next_command(folder)))
        part = Part(part_file(folder, command, engine.rank), options.save_every)
        start = time.monotonic()
        for stretch, at in zip(prepared.stretches, starts(prepared.stretches)):
            engine.run(Blocks(stretch, at, prepared.measuring, part, done), progress)
        seconds = time.monotonic() - start
        return engine.first(lambda: end(prepared, folder, out, (seconds, done), progress))


def end(
    prepared: _Prepared, folder: Path, out: Path | None, so_far: tuple[float, set[int]], progress: Progress
) -> EvaluateResult:
    """Put together what all processes saw, write it where it is wanted, and clean up.

    ``so_far`` are the seconds of this command, and the blocks that were done before it.
    """
    options, (seconds, done) = prepared.options, so_far
    progress.say("all images are seen: computing what they come to")
    total = prepared.measuring.renewed()
    check_whole(prepared.stretches, finished(folder))
    rejected = collect(folder, total)
    try:
        result = conclude(prepared, total, rejected, seconds, left(prepared.stretches, done))
    except VqcliError as e:
        if e.reason not in ("os", "memory"):  # nothing here is worth keeping, and images may be mended
            files.remove_folder(folder)
        raise
    if options.record and prepared.target.folder:
        record_measured(prepared.target.folder, usage_record(result))
    if options.statistics:
        files.write_text(placing(options.statistics), "")
        write_statistics(options.statistics, total, prepared.protocol)
    if out:  # last: where they are, all is done
        with together(out, FILES) as new:
            write_results(new, result, prepared.stretches[0], total)
    if options.statistics:
        placing(options.statistics).unlink()
    files.remove_folder(folder)
    return result


def prepare(options: EvaluateOptions, rank: int, progress: Progress) -> _Prepared:
    """Open everything and decide what is to be done. Raises VqcliError where that cannot be."""
    protocol, device = find_protocol(options.protocol), working_device(options.device, rank)
    check_given(options)
    target = open_target(options, protocol, device, rank, progress)
    target.plan["device"] = device.type
    storing, codes = bool(options.statistics), target.codebook_size > 0
    view = View(target.compares, target.sides, storing=storing, tokens=codes, classes=target.classifies)
    names = choose(protocol, options.metrics or (PAIRED if options.paired else ()), view)
    if options.record:
        check_record(options, target, names)
    measuring = open_measuring(options, protocol, names, target.codebook_size, device, progress)
    check_network(options, target, measuring)
    unmet = measuring.prepare(target.statistics, target.stretches[0].count)
    stretches = [s for s in target.stretches if not isinstance(s, Given) or s.side == "sample" or unmet]
    if unmet and target.statistics and len(target.stretches) == 1 and not options.metrics:
        progress.say(
            f"{options.images} has statistics alone: without {' and '.join(unmet)}, which need images"
        )
        for name in unmet:
            del measuring.metrics[name]
    elif unmet and target.statistics and len(target.stretches) == 1:
        message = f"{options.images} holds no images (arr_0), only statistics"
        raise VqcliError(message, hint=f"leave {' and '.join(unmet)} out of --metrics", reason="input-empty")
    for stretch in stretches:
        if stretch.compares:
            stretch.as_sets = bool(measuring.sets)
    return _Prepared(options, target, protocol, measuring, stretches)


def find_protocol(name: str) -> Protocol:
    """The protocol of this name. Raises VqcliError with the nearest known one."""
    if name not in PROTOCOLS:
        message = f"there is no protocol '{name}'"
        raise VqcliError(message, hint=suggestion(name, list(PROTOCOLS)), reason="option")
    return PROTOCOLS[name]


def work_folder(plan: dict[str, Any]) -> Path:
    """Where an evaluation is kept while it is under way: the same for the same plan."""
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    return cache_folder() / KIND / digest[:32]


def placing(statistics: Path) -> Path:
    """What is there from when statistics are written until all other results are, too."""
    return (
        cache_folder()
        / KIND
        / f"placing-{hashlib.sha256(str(statistics.resolve()).encode()).hexdigest()[:32]}"
    )


def hash_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays by name; empty of none."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest() if arrays else ""


def check_whole(stretches: Sequence[Stretch], done: set[int]) -> None:
    """Raises VqcliError unless all blocks are done: without a common folder those of other machines lack."""
    if missing := left(stretches, done):
        message = f"{missing:,} images were measured by processes whose results are not in {cache_folder()}"
        hint = "machines that share an evaluation need one cache folder: $VQCLI_CACHE"
        raise VqcliError(message, hint=hint, reason="input-missing")


def conclude(
    prepared: _Prepared, total: Measuring, rejected: list[dict[str, str]], seconds: float, worked: int
) -> EvaluateResult:
    """What all came to. Raises VqcliError if no image could be used."""
    options, target, protocol = prepared.options, prepared.target, prepared.protocol
    counts = {}
    for what, count in ((stretch.what, stretch.count) for stretch in prepared.stretches):
        bad = [image["reason"] for image in rejected if image["of"] == what]
        counts[what] = count - len(bad)
        if not counts[what]:
            message = f"none of {count:,} images ({what}) could be used ({bad[0]})"
            raise VqcliError(message, hint="are they images, and whole?", reason="input-empty")
    judged = judge(total, few_images=options.few_images, measured_against=bool(options.images))
    found = judged.numbers
    titles = total.titles()
    reconstructs = "r" if target.reconstructs else ""
    names = {name: f"{reconstructs if 'fid' in name else ''}{name}" for name in found}
    return EvaluateResult(
        target=options.target,
        kind=target.kind,
        reference=options.images or "",
        protocol=protocol.name,
        summary=protocol.summary,
        preparation=target.preparation + (f", {COLOURS_KEPT}" if options.keep_profile else ""),
        results={names[name]: value for name, value in found.items()},
        cautions={names[name]: "; ".join(said) for name, said in judged.cautions.items()},
        titles={names[name]: (reconstructs if "fid" in name else "") + titles[name] for name in found},
        metrics=total.configs(),
        networks=total.networks,
        random_networks=options.random_networks and bool(total.networks),
        unmeasured=total.unmeasured | judged.unmeasured,
        counts=counts,
        worst=worst(prepared.stretches[0], total),
        unmatched=target.unmatched,
        classes=target.classes,
        per_class=per_class(total, target.names),
        rejected=rejected,
        seconds=seconds,
        images_per_second=worked / seconds if worked else None,
        plan=prepared.plan,
    )
