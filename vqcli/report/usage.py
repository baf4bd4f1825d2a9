"""Codebook usage as one HTML file that loads nothing, and as a sketch for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vqcli.escapes import html
from vqcli.metrics.usage.counts import Bucket, Counts, UsageReport
from vqcli.metrics.usage.facts import Diagnosis
from vqcli.metrics.usage.geometry import CodeGeometry
from vqcli.report import svg

OPENING = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
"""How each page begins: by it a page is known that may be replaced."""
MOST_CELLS = 128
"""Cells along a side of the map; larger codebooks share cells."""

STYLE = """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
body{--page:#f6f7f9;--card:#fff}
@media(prefers-color-scheme:dark){body{--page:#12151c;--card:#1a1f2a}}
main{max-width:1080px;margin:0 auto;padding:32px 20px 56px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:16px;margin:0 0 12px}
p{margin:0}.protocol,figcaption,.what{color:var(--soft)}.protocol{overflow-wrap:anywhere;margin-bottom:22px}
.grid{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));margin-top:16px}
.flow{columns:2 440px;column-gap:16px;margin-top:16px}.flow>*{break-inside:avoid;margin-bottom:16px}
.cards{grid-template-columns:repeat(auto-fit,minmax(200px,1fr))}
section,figure{background:var(--card);border:1px solid var(--rule);border-radius:10px;margin:0}
section,figure{padding:16px 18px}
.value{font-size:28px;font-weight:650;line-height:1.2;font-variant-numeric:tabular-nums}
.what,figcaption{font-size:13px}
figcaption{margin-top:10px}.advice{border-left:4px solid var(--mark);margin-top:16px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:4px 12px 4px 0;text-align:right;border-bottom:1px solid var(--rule);font-weight:400}
th{color:var(--soft)}th:first-child,td:first-child{text-align:left}tr:last-child td{border-bottom:0}
.key{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 4px 0 10px;vertical-align:-1px}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
KEY = ("never", "≤ 1/8", "1/4", "1/2", "1 ×", "2 ×", "4 ×", "≥ 8 ×")
"""What the colours of the map mean: a code's count over N/K."""


def usage_page(
    report: UsageReport,
    counts_k: Counts,
    *,
    title: str,
    protocol: str,
    geometry: CodeGeometry | None = None,
    diagnosis: Diagnosis | None = None,
) -> str:
    """An HTML file about codebook usage, and why it is low where it is.

    ``counts_k`` (K,) draws the map; ``protocol`` says which images were counted and how they were prepared.
    """
    plots = _rank_figure(report) + _histogram_figure(report)
    rest = (
        _map_figure(report, counts_k)
        + _ends(report)
        + _numbers(report)
        + _geometry(geometry)
        + _latents(diagnosis)
        + _entries(report)
    )
    counted = f"{report.tokens:,} tokens of {report.images:,} images of {protocol}"
    return (
        f'{OPENING}<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html(title)}</title><style>{svg.STYLE}{STYLE}</style></head>\n<body><main>"
        f'<h1>{html(title)}</h1><p class="protocol">{html(counted)}</p>\n'
        f'<div class="grid cards">{"".join(_cards(report))}</div>\n{_causes(diagnosis)}'
        f'<div class="grid">{plots}</div>\n<div class="flow">{rest}</div></main></body></html>\n'
    )


def terminal_histogram(report: UsageReport, width: int = 80) -> str:
    """How many codes were used how often, a bar a line; ``width`` in columns."""
    names = [_times(bucket) for bucket in report.histogram]
    numbers = [f"{bucket.codes:,}" for bucket in report.histogram]
    left, right = max(map(len, names)), max(map(len, numbers))
    room = max(width - left - right - 4, 8)
    most = max(bucket.codes for bucket in report.histogram)
    lines = [f"{'used':>{left}}  codes"]
    for name, number, bucket in zip(names, numbers, report.histogram):
        lines.append(f"{name:>{left}}  {number:>{right}}  {_bar(bucket.codes / most, room)}".rstrip())
    return "\n".join(lines)


def _bar(share: float, room: int) -> str:
    """A bar in eighths of a column; whatever is not nothing can be seen."""
    eighths = max(round(share * room * 8), int(share > 0))
    return "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]


def _times(bucket: Bucket) -> str:
    if bucket.high == 0:
        return "never"
    return f"{bucket.low:,}" + (f"–{bucket.high:,}" if bucket.high > bucket.low else "") + " ×"


def _percent(share: float) -> str:
    """Two decimals, but never 100% where something is missing."""
    return f"{100 * share:.2f}%" if share == 1 or share < 0.99995 else "99.99%"


def _cards(report: UsageReport) -> Iterable[str]:
    k = report.codebook_size
    yield _card(
        "Utilization", _percent(report.utilization), f"uniform use: {_percent(report.uniform_expectation)}"
    )
    yield _card("Codes used", f"{report.used:,}", f"of {k:,}; {report.dead:,} never")
    yield _card("Perplexity", f"{report.perplexity:,.0f}", f"{_percent(report.perplexity / k)} of {k:,}")
    yield _card("Entropy", f"{report.entropy_bits:.2f} bits", f"of {report.max_entropy_bits:.2f} bits")


def _card(name: str, value: str, what: str) -> str:
    return f'<section><p>{name}</p><p class="value">{value}</p><p class="what">{what}</p></section>'


def _causes(diagnosis: Diagnosis | None) -> str:
    """Why usage is low, and what cures it; nothing where it is not."""
    return "".join(
        f'<section class="advice"><h2>{"Also" if index else "Likely cause"}: {html(cause.name)}</h2>'
        f"<p>{html(cause.evidence)}.</p><p>Cure: {html(cause.cure)}.</p></section>\n"
        for index, cause in enumerate(diagnosis.causes if diagnosis else ())
    )


def _figure(title: str, drawing: str, caption: str) -> str:
    return f"<figure><h2>{title}</h2>{drawing}<figcaption>{caption}</figcaption></figure>"


def _rank_figure(report: UsageReport) -> str:
    even = report.tokens / report.codebook_size
    highest = max([count for _, count in report.curve], default=1)
    x = svg.horizontal(1, max(report.codebook_size, 2), log=True)
    y = svg.vertical(min(1, even or 1), max(highest, even, 2) * 1.3, log=True)
    parts = svg.y_axis(y, "times used") + svg.x_axis(x, "codes by rank, the most used first")
    parts += svg.curve(report.curve, x, y)
    if even:
        parts += svg.level_line(even, y, f"uniform: {svg.compact(even)} each")
    caption = f"Both axes are logarithmic. The curve ends at the last used code, rank {report.used:,}; "
    caption += f"the axis at K = {report.codebook_size:,}. The flatter, the more even the use."
    return _figure("Rank and frequency", svg.picture(parts, "Counts of codes by rank"), caption)


def _histogram_figure(report: UsageReport) -> str:
    values = [bucket.codes for bucket in report.histogram]
    names = ["never" if b.high == 0 else svg.compact(b.low) for b in report.histogram]
    names = [name if index % (1 + len(names) // 14) == 0 else "" for index, name in enumerate(names)]
    y = svg.vertical(0, max(values) * 1.08)
    kinds = ["none" if bucket.high == 0 else "" for bucket in report.histogram]
    parts = svg.y_axis(y, "codes") + svg.bars(names, values, y, kinds)
    parts.append(
        svg.text(
            svg.WIDTH / 2, svg.HEIGHT - 8, "times used, from (each bar reaches to twice that)", kind="label"
        )
    )
    return _figure(
        "How often codes are used",
        svg.picture(parts, "Codes by number of uses"),
        "Even use is one narrow peak.",
    )


def _map_figure(report: UsageReport, counts_k: Counts) -> str:
    levels, share = usage_map(counts_k)
    colours = "".join(
        f'<span class="key" style="background:var(--{f"h{level}" if level else "none"})"></span>{name}'
        for level, name in enumerate(KEY)
    )
    cell = "one code"
    if share > 1:
        cell = f"the mean of {share} × {share} codes, red only where none of them is used"
    caption = (
        f"Codes row by row from code 0; a cell is {cell}. Colour: how often, against an even share, N / K."
    )
    return _figure(
        "Where the codebook is used", svg.heat_map(levels, "Use of every code"), f"{caption}<br>{colours}"
    )


def usage_map(counts_k: Counts) -> tuple[NDArray[np.int64], int]:
    """Levels of use of the codes laid out near-square, and how many codes a side share a cell.

    0 where nothing was used, 1 to 7 for up to 1/8 and from 8 times the even share, -1 beyond the last code.
    """
    columns = math.ceil(math.sqrt(len(counts_k)))
    share = math.ceil(columns / MOST_CELLS)
    side = math.ceil(columns / share) * share
    rows = math.ceil(math.ceil(len(counts_k) / columns) / share) * share
    laid = np.full((rows, side), np.nan)
    full = np.full(rows * columns, np.nan)
    full[: len(counts_k)] = counts_k
    laid[:, :columns] = full.reshape(rows, columns)
    blocks = laid.reshape(rows // share, share, side // share, share)
    there = (~np.isnan(blocks)).sum(axis=(1, 3))
    mean = np.nansum(blocks, axis=(1, 3)) / np.maximum(there, 1)
    even = max(float(counts_k.mean()), 1e-12)
    middle = (svg.LEVELS + 1) // 2
    steps = np.round(np.log2(np.maximum(mean / even, 1e-12))) + middle
    levels = np.where(mean > 0, np.clip(steps, 1, svg.LEVELS), 0)
    return np.where(there > 0, levels, -1).astype(np.int64), share


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "<tr>" + "".join(f"<th>{html(column)}</th>" for column in columns) + "</tr>" if columns else ""
    body = "".join("<tr>" + "".join(f"<td>{html(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<section><h2>{html(title)}</h2><table>{head}{body}</table></section>"


def _numbers(report: UsageReport) -> str:
    rows = [
        ("codebook size K", f"{report.codebook_size:,}"),
        ("images", f"{report.images:,}"),
        ("tokens N", f"{report.tokens:,}"),
        ("codes used", f"{report.used:,}"),
        ("codes never used", f"{report.dead:,}"),
        ("utilization", _percent(report.utilization)),
        ("uniform use would give", _percent(report.uniform_expectation)),
        ("perplexity", f"{report.perplexity:,.1f}"),
        ("entropy", f"{report.entropy_bits:.3f} of {report.max_entropy_bits:.3f} bits"),
    ]
    return _table("Numbers", [], rows)


def _ends(report: UsageReport) -> str:
    """The most and the least used codes side by side."""
    rows = [
        (str(most), f"{count:,}", str(least), f"{rare:,}")
        for (most, count), (least, rare) in zip(report.most_used, report.least_used)
    ]
    return _table("Most and least used codes", ["most used", "times", "least used", "times"], rows)


def _entries(report: UsageReport) -> str:
    if not report.entries:
        return ""
    rows = [
        (
            str(i),
            f"{e.tokens:,}",
            _percent(e.utilization),
            _percent(e.uniform_expectation),
            f"{e.perplexity:,.0f}",
        )
        for i, e in enumerate(report.entries)
    ]
    return _table("By scale or depth", ["entry", "tokens", "utilization", "uniform", "perplexity"], rows)


def _geometry(geometry: CodeGeometry | None) -> str:
    if geometry is None:
        return ""
    g = geometry
    rows = [
        ("codes (K, D)", f"({g.codes:,}, {g.width:,})"),
        ("norm, min / mean / max", f"{g.norm_min:.4g} / {g.norm_mean:.4g} / {g.norm_max:.4g}"),
        ("nearest other code, min / median", f"{g.nearest_min:.4g} / {g.nearest_median:.4g}"),
        ("neighbours looked for", f"{g.sampled:,} codes"),
        ("exact duplicates", f"{g.duplicates:,}"),
        ("effective rank", f"{g.effective_rank:.1f} of {g.width:,}"),
        ("codes with NaN or infinity", f"{g.not_finite:,}"),
    ]
    return _table("Geometry of the codes", [], rows)


def _latents(diagnosis: Diagnosis | None) -> str:
    if diagnosis is None or not (diagnosis.latents or diagnosis.no_latents):
        return ""
    found, title = diagnosis.latents, "Latents against codes"
    if found is None:
        return _table(title, [], [("not measured", diagnosis.no_latents)])
    z = found.latents
    rows = [
        ("latents sampled", f"{z.codes:,}"),
        ("norm, min / mean / max", f"{z.norm_min:.4g} / {z.norm_mean:.4g} / {z.norm_max:.4g}"),
        ("effective rank", f"{z.effective_rank:.1f} of {z.width:,}"),
        ("distance to their codes, median", f"{found.code_distance:.4g}"),
    ]
    for name, group in (("used codes", found.used), ("codes never used", found.unused)):
        if group:
            rows.append((f"{name}: distance to a latent, median", f"{group.latent_distance:.4g}"))
            rows.append((f"{name}: norm, median / max", f"{group.norm_median:.4g} / {group.norm_max:.4g}"))
    if found.metric == "dot":
        rows.append(("codes are chosen by", "dot product: lengths count too"))
    return _table(title, [], rows)
