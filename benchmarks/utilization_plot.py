"""Pictures of the study of utilization: a grid of shares, curves over training, and quality over use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from utilization_systems import SYSTEMS

from vqcli.report import svg

Cell = Mapping[str, Any]
"""What came out of one training run: ``system``, ``codebook_size``, ``utilization`` ..."""

NAMES, COLUMN, ROW, HEAD = 190, 92, 30, 52
"""Sides of the grid's parts, in pixels."""
LEAST = 4
"""Columns that the title needs."""
RAMP = ("#f4f6fb", "#dbe6f8", "#bcd2f2", "#93b6e8", "#6394da", "#3a72c6", "#1f4f9e", "#12356f")
"""From nothing to all: one hue, so that nobody needs to tell colours apart."""
PALE = 4
"""Steps of the ramp on which black is read; on the others white is."""
WIDTH, HEIGHT, LEGEND = 900, 470, 210
"""Of the plots, and of the names at their right end."""
COLOURS = ("#1d4ed8", "#d97706", "#059669", "#db2777", "#6b7280", "#7c3aed", "#0891b2", "#b91c1c")
DASHES = ("", "6 4", "2 3")
"""Of lines whose colours are taken already."""


def utilization_picture(cells: Sequence[Cell]) -> str:
    """An SVG file: systems by numbers of codes, each cell the least utilization of its seeds."""
    sizes = sorted({cell["codebook_size"] for cell in cells})
    systems = [name for name in SYSTEMS if any(cell["system"] == name for cell in cells)]
    parts = [svg.text(NAMES, 18, "share of K codes that are used (the least of the seeds)", "start", "label")]
    parts += [svg.text(_column(i), HEAD - 10, f"K = {size:,}") for i, size in enumerate(sizes)]
    for row, system in enumerate(systems):
        top = HEAD + row * ROW
        parts.append(svg.text(NAMES - 12, top + 20, SYSTEMS[system].title, "end", "label"))
        for column, size in enumerate(sizes):
            found = [c["utilization"] for c in cells if (c["system"], c["codebook_size"]) == (system, size)]
            if found:
                parts += _share(_column(column), top, min(found))
    width, height = NAMES + max(len(sizes), LEAST) * COLUMN + 10, HEAD + len(systems) * ROW + 10
    return svg.document(parts, "Utilization by system and codebook size", width, height, white=True)


def _column(index: int) -> float:
    return NAMES + (index + 0.5) * COLUMN


def _share(middle: float, top: float, share: float) -> list[str]:
    """A cell of the grid, coloured by its share."""
    step = min(int(share * len(RAMP)), len(RAMP) - 1)
    ink = "#111827" if step < PALE else "#ffffff"
    box = f'x="{middle - COLUMN / 2 + 1:.1f}" y="{top + 1}" width="{COLUMN - 2}" height="{ROW - 2}"'
    label = svg.text(middle, top + 20, per_cent(share)).replace("<text ", f'<text style="fill:{ink}" ')
    return [f'<rect {box} rx="3" fill="{RAMP[step]}"/>', label]


def per_cent(share: float) -> str:
    """``4.9 %``, ``99.98 %``, ``100 %``: never 100 where a code is missing."""
    if share == 1:
        return "100 %"
    return f"{100 * share:.1f} %" if share < 0.99 else f"{min(100 * share, 99.99):.2f} %"


def curves_picture(cells: Sequence[Cell], size: int) -> str:
    """An SVG file: utilization over the last steps, all through training, of the first seed with K codes."""
    first = {cell["system"]: cell for cell in cells if (cell["codebook_size"], cell["seed"]) == (size, 0)}
    lines = {name: first[name]["curve"] for name in SYSTEMS if name in first}
    last = max(step for line in lines.values() for step, _, _ in line)
    x = svg.Scale(0, last, svg.LEFT, WIDTH - LEGEND - svg.RIGHT)
    y = svg.vertical(0, 100, height=HEIGHT)
    parts = svg.y_axis(y, f"utilization between lines of the log, % of {size:,} codes", WIDTH - LEGEND)
    parts += svg.x_axis(x, "optimizer step", HEIGHT)
    order = sorted(lines, key=lambda name: lines[name][-1][1], reverse=True)
    for row, (name, look) in enumerate(zip(order, _looks())):
        path = "L".join(f"{x(step):.1f} {y(100 * share):.1f}" for step, share, _ in lines[name])
        parts.append(f'<path d="M{path}" fill="none" {look}/>')
        parts += _named(row, name, f'<path d="M0 0h26" {look}/>')
    return svg.document(parts, "Utilization over training", WIDTH, HEIGHT, white=True)


def quality_picture(cells: Sequence[Cell], size: int) -> str:
    """An SVG file: PSNR over utilization, a point for each system and seed with K codes."""
    chosen = [cell for cell in cells if cell["codebook_size"] == size]
    low, high = (pick(cell["psnr"] for cell in chosen) for pick in (min, max))
    x = svg.Scale(0, 100, svg.LEFT, WIDTH - LEGEND - svg.RIGHT)
    y = svg.vertical(low - 0.5, high + 0.5, height=HEIGHT)
    parts = svg.y_axis(y, f"PSNR, dB, with {size:,} codes", WIDTH - LEGEND)
    parts += svg.x_axis(x, "utilization, %", HEIGHT)
    systems = [name for name in SYSTEMS if any(cell["system"] == name for cell in chosen)]
    for row, name in enumerate(systems):
        number = svg.text(0, 4, str(row + 1), kind="label")
        dot = f'<circle r="9" fill="#fff" stroke="{COLOURS[row % len(COLOURS)]}" stroke-width="2"/>{number}'
        for cell in chosen:
            if cell["system"] == name:
                place = f"translate({x(100 * cell['utilization']):.1f} {y(cell['psnr']):.1f})"
                parts.append(f'<g transform="{place}">{dot}</g>')
        parts += _named(row, name, f'<g transform="translate(13 0)">{dot}</g>')
    return svg.document(parts, "PSNR over utilization", WIDTH, HEIGHT, white=True)


def _looks() -> Sequence[str]:
    """Strokes that differ in colour or in dashes."""
    return [
        f'stroke="{colour}" stroke-width="1.8"' + (f' stroke-dasharray="{dash}"' if dash else "")
        for dash in DASHES
        for colour in COLOURS
    ]


def _named(row: int, name: str, mark: str) -> list[str]:
    """A line of the legend."""
    left, level = WIDTH - LEGEND, svg.TOP + 8 + row * 25
    title = svg.text(left + 36, level + 4, SYSTEMS[name].title, "start", "label")
    return [f'<g transform="translate({left} {level})">{mark}</g>', title]
