"""Codebook usage: what is stored with a model, what a tokens file holds, or counted afresh on images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vqcli import files
from vqcli.data.names import named
from vqcli.data.tokens.files import TokensFile, TokensFolder, open_tokens
from vqcli.errors import VqcliError
from vqcli.jobs.causes import find_causes, last_logged
from vqcli.library.find import model_folder
from vqcli.metrics.usage.counts import UsageCounts, UsageReport
from vqcli.metrics.usage.diagnosis import diagnose
from vqcli.metrics.usage.facts import Counted, Diagnosis, Facts
from vqcli.metrics.usage.geometry import CodeGeometry, measure_geometry
from vqcli.metrics.usage.record import UsageRecord
from vqcli.report.usage import OPENING, usage_page
from vqcli.types import Progress, silent

if TYPE_CHECKING:
    from vqcli.jobs.encoder import Encoder, Watch
    from vqcli.jobs.options import ImageOptions


@dataclass(frozen=True)
class UsageResult:
    """Usage of a codebook, and how its codes lie."""

    target: str
    measured_on: str
    """Which images, and how they were prepared; empty if usage was never measured."""
    utilization: float | None
    """Share of the codes that are used; None if it was never measured."""
    usage: UsageReport | None = None
    """Exact counts; None where only what was stored is known."""
    stored: UsageRecord | None = None
    """What a model folder says."""
    geometry: CodeGeometry | None = None
    """Of the model's codes; None for tokens, and for codes that are implicit."""
    diagnosis: Diagnosis = field(default_factory=Diagnosis)
    """Why usage is low, if it is, and what cures it."""
    rejected: list[dict[str, str]] = field(default_factory=list)
    """Images that could not be used."""


def measure_usage(
    target: str,
    options: ImageOptions | None = None,
    *,
    codebook_size: int | None = None,
    page: Path | None = None,
    progress: Progress = silent,
) -> UsageResult:
    """Usage of tokens (a file or folder), of a model on ``options.images``, or as stored with a model.

    ``codebook_size`` is for tokens that do not tell it; ``page`` writes an HTML page of exact counts too.
    Raises VqcliError where there is nothing to count. Tokens are counted without torch.
    """
    if page and files.exists(page):
        check_page(page)
    with files.claimed(page) if page else nullcontext():
        return _measure(target, options, codebook_size, page, progress)


def check_page(page: Path) -> None:
    """Raises VqcliError if what is where a page goes is no older page, which alone may be replaced."""
    if files.is_folder(page):
        raise VqcliError(f"{page} is a folder", hint="give the page a name: -o usage.html", reason="exists")
    with files.open_regular(page) as file:
        found = file.read(len(OPENING))
    if found not in (b"", OPENING.encode()):
        message = f"{page} exists already, and is no page of vqcli"
        raise VqcliError(message, hint="give another -o: usage.html", reason="exists")


def _measure(
    target: str,
    options: ImageOptions | None,
    codebook_size: int | None,
    page: Path | None,
    progress: Progress,
) -> UsageResult:
    if named(target) in ("tokens", "latents"):  # of which the latter are refused where they are opened
        if options:
            raise VqcliError(
                f"{target} holds tokens, which are counted as they are",
                hint="leave --images out, or give a model as the target",
                reason="option",
            )
        result, counts = _count_tokens(Path(target), codebook_size, progress)
    elif options:
        result, counts = _count_images(options, progress)
    elif page:
        hint = "name --images, or give tokens as the target"
        raise VqcliError("a page needs exact counts", hint=hint, reason="option")
    else:
        result, counts = _stored(target, progress), None
    if page:
        assert counts is not None  # what else there is was refused
        assert result.usage is not None
        text = usage_page(
            result.usage,
            counts.counts_k,
            title=target,
            protocol=result.measured_on,
            geometry=result.geometry,
            diagnosis=result.diagnosis,
        )
        files.write_text(page, text)
    return result


def _count_tokens(
    path: Path, codebook_size: int | None, progress: Progress
) -> tuple[UsageResult, UsageCounts]:
    found = open_tokens(path)
    size = found.info.codebook_size if found.info else codebook_size
    if size is None:
        raise VqcliError(
            f"{path} does not say how large its codebook is",
            hint="give --codebook-size K",
            reason="no-info",
        )
    counts = count_tokens(found, size, progress)
    report = counts.report()
    diagnosis = diagnose(Facts(Counted.of(report)))
    result = UsageResult(str(path), tokens_source(found), report.utilization, report, diagnosis=diagnosis)
    return result, counts


def tokens_source(found: TokensFile | TokensFolder) -> str:
    """Of which images tokens are, and how those were prepared."""
    return f"{found.path}, {found.info.preprocessing}" if found.info else str(found.path)


def count_tokens(found: TokensFile | TokensFolder, size: int, progress: Progress) -> UsageCounts:
    """How tokens use ``size`` codes. Raises VqcliError if they are not of so many, or damaged."""
    progress.start("count", len(found), "images")

    def blocks() -> Iterator[np.ndarray]:
        for block in found.blocks():
            yield block
            progress.advance(len(block))

    try:
        return UsageCounts.of(blocks(), size, found.grid)
    except ValueError as e:
        raise VqcliError(f"{found.path}: {e}", hint="is it another codebook's?", reason="token-range") from e


def _count_images(options: ImageOptions, progress: Progress) -> tuple[UsageResult, UsageCounts]:
    from vqcli.jobs.encoder import Encoder
    from vqcli.jobs.latents import LatentSample

    encoder = Encoder(options, progress=progress)
    sample = LatentSample(encoder.tokenizer.quantizer, encoder.count)
    counts, rejected = count_images(encoder, progress, sample.watch)
    report, geometry, latents = counts.report(), _geometry(encoder.folder), sample.measure(counts.counts_k)
    facts = Facts(Counted.of(report), geometry, latents, no_latents=sample.missing, counts_k=counts.counts_k)
    result = UsageResult(
        str(encoder.folder),
        f"{options.images}, {encoder.preprocessing}",
        report.utilization,
        report,
        geometry=geometry,
        diagnosis=find_causes(facts, encoder.folder, progress),
        rejected=rejected,
    )
    return result, counts


def count_images(
    encoder: Encoder, progress: Progress, watch: Watch | None = None
) -> tuple[UsageCounts, list[dict[str, str]]]:
    """Usage of a model's codebook by its images, and the images that could not be used.

    ``watch`` is shown the latents on the way. Raises VqcliError if none could be used.
    """
    counts: UsageCounts | None = None
    rejected = []
    progress.start("encode", encoder.count, "images")
    for batch, encoded in encoder.batches(np.arange(encoder.count), watch):
        for grid, ids in encoded.values():
            counts = counts or UsageCounts(encoder.tokenizer.spec.codebook_size, len(grid))
            counts.add(ids[None], grid)
        rejected += [bad.record() for bad in batch.rejected]
        progress.advance(len(batch.all_indices))
    if counts is None:
        raise VqcliError(
            f"none of the images of {encoder.options.images} could be used",
            hint="vqcli encode lists each with its reason",
            reason="input-empty",
        )
    return counts, rejected


def _stored(reference: str, progress: Progress) -> UsageResult:
    """What a model folder says of its usage, and the geometry of its codes."""
    folder = model_folder(reference, progress)
    stored, geometry = UsageRecord.read(folder), _geometry(folder)
    if stored is None:
        counted = last_logged(folder, geometry.codes) if geometry else None
        diagnosis = find_causes(Facts(counted, geometry), folder, progress) if counted else Diagnosis()
        return UsageResult(str(folder), "", None, geometry=geometry, diagnosis=diagnosis)
    what = f"{stored.images}, {stored.tokens:,} tokens"
    counted = Counted(stored.codebook_size, stored.used, stored.tokens)
    diagnosis = find_causes(Facts(counted, geometry), folder, progress)
    return UsageResult(
        str(folder), what, stored.utilization, stored=stored, geometry=geometry, diagnosis=diagnosis
    )


def _geometry(folder: Path) -> CodeGeometry | None:
    """Geometry of a model folder's codes, or of a checkpoint's, baked; None where a rule makes them."""
    path = folder / "codebook.safetensors"
    if files.is_there(path):
        return measure_geometry(read_codes(path))
    from vqcli.checkpoint.tokenizer import load_tokenizer

    quantizer = load_tokenizer(folder).quantizer
    quantizer.require_codes()
    return None if quantizer.codebook.IMPLICIT else measure_geometry(quantizer.codes().detach().numpy())


def read_codes(path: Path) -> np.ndarray:
    """The codes (K, D) of a model folder. Raises VqcliError if they cannot be read."""
    files.verify_listed(path)
    with files.tensors(path, "numpy") as file:
        codes: np.ndarray = file.get_tensor("codes")
    if codes.ndim != 2 or codes.dtype.kind != "f" or not codes.size:
        message = f"{path} holds no codes (K, D), but {codes.dtype} {codes.shape}"
        raise VqcliError(message, hint="copy the folder again", reason="damaged")
    return codes
