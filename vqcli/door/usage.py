"""Codebook usage of tokens at hand, or of what the command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vqcli.data.tokens.files import BLOCK
from vqcli.door.tokens import TokenSet, TokensLike, given
from vqcli.jobs.options import ImageOptions
from vqcli.jobs.usage import UsageResult, measure_usage
from vqcli.metrics.usage.counts import UsageCounts
from vqcli.metrics.usage.diagnosis import diagnose
from vqcli.metrics.usage.facts import Counted, Facts
from vqcli.types import Grid


def usage(
    target: str | Path | TokensLike,
    *,
    images: str | None = None,
    codebook_size: int | None = None,
    grid: Grid | None = None,
    page: str | Path | None = None,
    **options: Any,
) -> UsageResult:
    """How a codebook is used: by tokens at hand, or by what ``vqcli usage-report`` takes as its TARGET.

    ``images`` are for a model, with ``options`` of ``ImageOptions``; ``page`` writes an HTML page.
    ``codebook_size`` and ``grid`` are for arrays that do not tell them. Raises ValueError where these are
    missing or wrong, VqcliError as the command does.
    """
    target = target.path if isinstance(target, TokenSet) else target  # a file's hash is checked on the way
    if isinstance(target, str | Path):
        asked = ImageOptions(images, model=str(target), **options) if images else None
        where = Path(page) if page else None
        return measure_usage(str(target), asked, codebook_size=codebook_size, page=where)
    if images or page or options:
        raise ValueError("tokens at hand are counted as they are: no images, page or options of images")
    found = given(target, grid)
    size = found.codebook_size or codebook_size
    if size is None:
        raise ValueError("an array does not tell how large its codebook is: give codebook_size")
    blocks = (found.ids_nl[at : at + BLOCK] for at in range(0, len(found.ids_nl), BLOCK))
    report = UsageCounts.of(blocks, size, found.grid).report()
    told = f"{len(found.ids_nl):,} images"
    diagnosis = diagnose(Facts(Counted.of(report)))
    return UsageResult("", told, report.utilization, report, diagnosis=diagnosis)
