"""What an evaluation leaves in a folder: numbers, a line an image, pictures; and statistics to compare with.

Shape letters: B images of a batch, N images, H, W sides in pixels.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vqcli import files
from vqcli.data.images.npz import COUNT, NETWORK, RESIZING
from vqcli.errors import VqcliError
from vqcli.escapes import cell
from vqcli.jobs.evaluation.measuring import INCEPTION, Measuring
from vqcli.jobs.evaluation.mistakes import pairs_of
from vqcli.jobs.evaluation.result import TIMES, EvaluateResult
from vqcli.jobs.evaluation.work import Pictures, Reconstructions, Stretch
from vqcli.metrics.base import PairMetric
from vqcli.metrics.frechet import FrechetMetric
from vqcli.metrics.protocols import Protocol
from vqcli.metrics.usage.record import UsageRecord
from vqcli.pixels import contact_sheet, to_uint8
from vqcli.report.confusion import confusion
from vqcli.report.evaluation import evaluation_page

RESULTS, LINES, PAGE = "results.json", "images.csv", "index.html"
CONFUSION, CLASSES = "confusion.svg", "classes.csv"
"""Of a classifier: which class was taken for which, and a line for every class."""
PICTURES = ("reconstructions", "best", "worst", "samples")
FILES = (RESULTS, LINES, PAGE, CONFUSION, CLASSES, *(f"{name}.png" for name in PICTURES))
"""All that there may be."""
SHOWN = 8
"""Images a picture shows side by side."""
SMALLEST = 128
"""Pixels a side that shown images have at least: smaller ones are enlarged by a whole factor."""
LOUDER = 4
"""Differences are shown so many times as large, or people would see nothing."""


def write_results(out: Path, result: EvaluateResult, stretch: Stretch, total: Measuring) -> None:
    """Write the numbers, and what the first stretch of work looks like, into an empty folder.

    Nothing tells how long it took: the same evaluation ends with the same bytes.
    """
    pairs = total.pairs
    pictures = {}
    if isinstance(stretch, Pictures) and pairs:
        table = per_image(pairs)
        write_lines(out / LINES, stretch, table)
        for name, (what, shown) in telling(pairs, table).items():
            made = "reconstructions" if isinstance(stretch, Reconstructions) else "partners"
            pictures[f"{name}.png"] = f"{what}; below: {made}, differences times {LOUDER}"
            files.write_image(out / f"{name}.png", triptychs(stretch, shown))
    elif stretch.classifies:
        write_classes(out / CLASSES, result.per_class)
        files.write_text(out / CONFUSION, confusion(pairs_of(total), result.per_class))
        pictures[CONFUSION] = "rows: classes; columns: what images of them were taken for"
    elif not stretch.compares:
        seen = stretch.batches(np.arange(stretch.count))
        usable = (image for each in seen for _, _, batch in each.sets for image in batch)
        pictures["samples.png"] = "the first images"
        images = list(itertools.islice(usable, SHOWN**2 // 2))
        files.write_image(out / "samples.png", contact_sheet(evened(images), SHOWN))
    warning = (
        "Networks had random weights: what they measured means nothing." if result.random_networks else ""
    )
    page = evaluation_page(f"{result.kind} {result.target}", result.rows(timed=False), pictures, warning)
    files.write_text(out / PAGE, page)
    numbers = {name: value for name, value in asdict(result).items() if name not in TIMES}
    files.write_sealed(out / RESULTS, numbers)


def telling(pairs: dict[str, PairMetric], table: dict[str, np.ndarray]) -> dict[str, tuple[str, np.ndarray]]:
    """What is worth a look: name, what it shows, numbers of images."""
    indices, judge = table["index"], "lpips" if "lpips" in pairs else next(iter(pairs))
    nearest = np.argsort(table[judge] if pairs[judge].lower_is_better else -table[judge], kind="stable")
    across = np.unique(np.linspace(0, len(indices) - 1, SHOWN).astype(int))
    best, worst = nearest[:SHOWN], nearest[::-1][:SHOWN]
    return {
        "reconstructions": ("images from all over the set", indices[across]),
        "best": (f"{judge} {_listed(table[judge][best])}", indices[best]),
        "worst": (f"{judge} {_listed(table[judge][worst])}", indices[worst]),
    }


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def per_image(pairs: dict[str, PairMetric]) -> dict[str, np.ndarray]:
    """What each image came to, by metric, in the order of ``index``."""
    table: dict[str, np.ndarray] = {}
    for name, metric in pairs.items():
        state = metric.state()
        order = torch.argsort(state["indices"])
        table["index"] = state["indices"][order].numpy()
        table[name] = state["found"][order].numpy()
    return table


def worst(stretch: Stretch, total: Measuring) -> list[dict[str, Any]]:
    """Keys and numbers of the images that came out worst; nothing where none are compared one by one."""
    if not (isinstance(stretch, Pictures) and total.pairs):
        return []
    table = per_image(total.pairs)
    names, row = (
        [name for name in table if name != "index"],
        {i: n for n, i in enumerate(table["index"].tolist())},
    )
    found = telling(total.pairs, table)["worst"][1].tolist()
    return [{"key": stretch.key(i)} | {name: float(table[name][row[i]]) for name in names} for i in found]


def write_lines(path: Path, stretch: Pictures, table: dict[str, np.ndarray]) -> None:
    """A CSV file with the key and the numbers of every image."""
    names = [name for name in table if name != "index"]
    with files.writing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        lines = csv.writer(text)
        lines.writerow(["key", *names])
        for row, index in enumerate(table["index"].tolist()):
            lines.writerow([cell(stretch.key(index)), *(f"{table[name][row]:.6g}" for name in names)])
        text.detach()  # flushed; the file below is not this function's to close


def write_classes(path: Path, every: Sequence[dict[str, Any]]) -> None:
    """A CSV file with a line for every class that occurred."""
    with files.writing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        lines = csv.writer(text)
        lines.writerow(every[0])
        for one in every:
            lines.writerow([cell(value) if isinstance(value, str) else value for value in one.values()])
        text.detach()  # flushed; the file below is not this function's to close


def triptychs(stretch: Pictures, indices: np.ndarray) -> Any:
    """Originals, reconstructions or partners below them, and below these how they differ, ``LOUDER``."""
    columns: dict[int, list[Tensor]] = {}
    for seen in stretch.batches(indices):
        for numbers, images, reconstructions in seen.pairs:
            a, b = to_uint8(images.cpu()), to_uint8(reconstructions.cpu())
            apart = ((a.int() - b.int()).abs() * LOUDER).clamp(max=255).to(torch.uint8)
            columns |= {i: [a[k], b[k], apart[k]] for k, i in enumerate(numbers.tolist())}
    shown = [columns[i] for i in indices.tolist() if i in columns]  # others can be read no more
    return contact_sheet(evened([column[row] for row in range(3) for column in shown]), len(shown))


def evened(images: list[Tensor]) -> Tensor:
    """Images of any sizes, uint8 (3, H, W), as one tensor: enlarged if small, the rest filled with white."""
    sizes = torch.tensor([image.shape[1:] for image in images])
    factor = max(1, -(-SMALLEST // int(sizes.max())))
    h, w = (sizes.max(dim=0).values * factor).tolist()
    enlarged = [image.repeat_interleave(factor, 1).repeat_interleave(factor, 2) for image in images]
    return torch.stack([F.pad(x, (0, w - x.shape[2], 0, h - x.shape[1]), value=255) for x in enlarged])


def write_statistics(path: Path, total: Measuring, protocol: Protocol) -> None:
    """Statistics of the measured images, as ADM's reference files have them, and how they were resized.

    Raises VqcliError if there are fewer than two.
    """
    arrays = {RESIZING: np.array(protocol.resize), NETWORK: np.array(total.networks[INCEPTION])}
    for metric in total.sets.values():
        if isinstance(metric, FrechetMetric):
            if metric.moments["sample"].count < 2:
                raise VqcliError("one image has no statistics", hint="give more", reason="input-empty")
            arrays |= dict(zip(metric.NAMES, metric.statistics("sample")))
            arrays[COUNT] = np.array(str(metric.moments["sample"].count))
    with files.writing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def usage_record(result: EvaluateResult) -> UsageRecord:
    """The record of a tokenizer that was evaluated."""
    names = {"lpips": f"lpips_{result.metrics['lpips']['net']}"} if "lpips" in result.metrics else {}
    numbers: dict[str, Any] = {
        names.get(name, name): x for name, x in result.results.items() if x is not None
    }
    cautions = {names.get(name, name): said for name, said in result.cautions.items()}
    images = f"{result.counts['reconstruct']:,} images of {result.reference}, {result.preparation}"
    return UsageRecord(images=images, protocol=result.protocol, cautions=cautions, **numbers)
