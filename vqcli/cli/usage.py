"""``vqcli usage-report``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcli.cli.groups import COUNTED, Before
from vqcli.cli.options import option
from vqcli.cli.output import UNCLEAN, Out
from vqcli.cli.text import counted, fields, paragraph, rejections, terminal_width
from vqcli.jobs.options import ImageOptions

if TYPE_CHECKING:
    from vqcli.jobs.usage import UsageResult
    from vqcli.metrics.usage.counts import EntryUsage, UsageReport
    from vqcli.metrics.usage.facts import Diagnosis


def usage_report(
    out: Out,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A model or run, or tokens (a file or a folder).")
    ],
    images: Annotated[ImageOptions | None, COUNTED],
    fail_below: Annotated[
        float | None,
        option(
            "--fail-below",
            min=0,
            max=1,
            metavar="SHARE",
            help="Exit with code 3 if utilization is below this share of the codes, such as 0.99.",
        ),
        Before("size"),
    ] = None,
    page: Annotated[
        Path | None,
        option("--out", "-o", metavar="FILE", help="Also write a page in HTML."),
        Before("size"),
    ] = None,
    codebook_size: Annotated[
        int | None,
        option("--codebook-size", min=1, metavar="K", help="Codes there are, for tokens that do not tell."),
        Before("size"),
    ] = None,
) -> None:
    """Report which share of its codes a codebook uses and, if that is low, why. Counts are exact.

    Example: vqcli usage-report runs/demo --images photos/ -o report.html
    """
    from vqcli.jobs.usage import measure_usage

    options = images and replace(images, model=target)
    result = measure_usage(target, options, codebook_size=codebook_size, page=page, progress=out.progress())
    if page:
        out.say(f"wrote {page}")
    out.result(result, lambda: _text(result), essential=result.utilization)
    out.warn_rejected(result.rejected)
    if fail_below is not None and _fails(out, result.utilization, fail_below):
        raise typer.Exit(UNCLEAN)


def _fails(out: Out, utilization: float | None, bound: float) -> bool:
    if utilization is None:
        out.warn("utilization was never measured: name --images")
        return True
    if utilization < bound:
        out.warn(f"utilization {utilization:.4%} is below {bound:.4%}")
    return utilization < bound


def _text(result: UsageResult) -> str:
    from vqcli.report.usage import terminal_histogram

    rows = _usage_rows(result) + _geometry_rows(result.geometry) + _latent_rows(result.diagnosis)
    lines = [fields(rows, result.target)]
    if result.usage:
        lines += ["", terminal_histogram(result.usage, min(60, terminal_width() or 60))]
    for index, cause in enumerate(result.diagnosis.causes):
        lines += [
            "",
            f"{'also' if index else 'likely cause'}: {cause.name}",
            paragraph(f"{cause.evidence}.", "  "),
            paragraph(f"cure: {cause.cure}.", "  "),
        ]
    if result.utilization is not None and not result.diagnosis.causes:
        lines += ["", paragraph(_no_cause(result.usage))]
    return "\n".join(lines + rejections(result.rejected))


def _no_cause(usage: UsageReport | None) -> str:
    """What no alarm means: codes that were seen once count as a sign of as many others (docs/collapse.md)."""
    from vqcli.metrics.usage.facts import LOW

    if usage is None or usage.utilization >= LOW * usage.uniform_expectation:
        return "healthy: about as many codes are used as so many tokens can show"
    unseen = f"{counted(usage.dead, 'code')} {'was' if usage.dead == 1 else 'were'} not seen"
    return (
        f"no alarm: {unseen}, but {usage.once:,} only once, so more images are likely to show more codes: "
        "count over more to tell"
    )


def _usage_rows(result: UsageResult) -> list[tuple[str, str]]:
    usage, stored = result.usage, result.stored
    if usage:
        return [
            ("measured on", f"{counted(usage.images, 'image')} of {result.measured_on}"),
            ("utilization", f"{usage.utilization:.2%}  {usage.used:,} of {usage.codebook_size:,} codes"),
            ("if uniform", f"{usage.uniform_expectation:.2%}  for {usage.tokens:,} tokens"),
            *_unseen_row(usage),
            ("perplexity", f"{usage.perplexity:,.1f}"),
            ("entropy", f"{usage.entropy_bits:.3f} of {usage.max_entropy_bits:.3f} bits"),
            ("most used", ", ".join(f"{code} ({count:,})" for code, count in usage.most_used[:6])),
            ("least used", ", ".join(f"{code} ({count:,})" for code, count in usage.least_used[:6])),
            *((f"step {i}", _entry(entry)) for i, entry in enumerate(usage.entries, 1)),
        ]
    if stored:
        return [
            ("measured on", f"{result.measured_on}, at export"),
            (
                "utilization",
                f"{stored.utilization:.2%}  {stored.used:,} of {stored.codebook_size:,} codes",
            ),
            ("if uniform", f"{stored.uniform_expectation:.2%}"),
            ("perplexity", f"{stored.perplexity:,.1f}"),
        ]
    return [("utilization", "was never measured: name images with --images")]


def _unseen_row(usage: UsageReport) -> list[tuple[str, str]]:
    """How many codes are missing because few tokens were counted, and how many may be dead."""
    from vqcli.metrics.usage.diagnosis import ENOUGH

    if not usage.dead:
        return []
    more = round(usage.unseen_estimate)
    once = f"{counted(usage.once, 'code')} seen once"
    told = f"{usage.dead:,}; {once}, so at least about {more:,} of them would be in more images (Chao)"
    enough = usage.uniform_expectation >= ENOUGH
    return [("not seen", told + (f", at most {usage.dead - more:,} never" if enough else ""))]


def _entry(entry: EntryUsage) -> str:
    uniform = f"uniform {entry.uniform_expectation:.2%}"
    return f"{entry.utilization:.2%}  {uniform}, perplexity {entry.perplexity:,.1f}"


def _geometry_rows(geometry: Any) -> list[tuple[str, str]]:
    if geometry is None:
        return []
    nearest = f"{geometry.nearest_median:.4g} away (median of {geometry.sampled:,})"
    return [
        ("codes", f"{geometry.codes:,} of width {geometry.width}, {geometry.duplicates:,} duplicates"),
        ("norms", f"{geometry.norm_min:.4g} to {geometry.norm_max:.4g}, mean {geometry.norm_mean:.4g}"),
        ("nearest code", f"{nearest}, {geometry.nearest_min:.4g} at least"),
        ("effective rank", f"{geometry.effective_rank:.1f} of {geometry.width}"),
    ]


def _latent_rows(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    found = diagnosis.latents
    if found is None:
        return [("latents", f"not measured: {diagnosis.no_latents}")] if diagnosis.no_latents else []
    z = found.latents
    distances = [f"{found.code_distance:.4g} from a latent to its code"]
    for name, group in (("a used code", found.used), ("a never-used one", found.unused)):
        if group:
            distances.append(f"{group.latent_distance:.4g} from {name} to a latent")
    rank = f"norm {z.norm_mean:.4g} on average, effective rank {z.effective_rank:.1f} of {z.width}"
    dot = "; codes are chosen by dot product, for which lengths count too" if found.metric == "dot" else ""
    return [
        ("latents", f"{z.codes:,} sampled, {rank}"),
        ("distances", ", ".join(distances) + f" (medians){dot}"),
    ]
