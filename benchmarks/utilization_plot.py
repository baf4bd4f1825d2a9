"""The picture of the study of utilization: a line for each system over the number of codes.

Points of the same K stand side by side, so that none hides another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from vqcli.report import svg

WIDTH, HEIGHT, LEGEND = 900, 420, 220
"""Of the picture, and of the names at its right end."""
ROOM = 62
"""Between an edge of the plotted area and the nearest K."""
BESIDE = 11
"""Between points of the same K."""
ROW = 24
"""Height of a name."""
UNIFORM = "if all codes were used alike"


class Look(NamedTuple):
    """How a system is drawn."""

    name: str
    colour: str
    mark: str


LOOKS: dict[str, Look] = {
    "vqgan": Look("VQGAN", "#6b7280", "circle"),
    "ema": Look("VQGAN-EMA", "#d97706", "square"),
    "fc": Look("VQGAN-FC", "#92400e", "up"),
    "llamagen": Look("LlamaGen VQ", "#059669", "diamond"),
    "lc": Look("VQGAN-LC", "#db2777", "down"),
    "simvq": Look("SimVQ", "#7c3aed", "circle"),
    "ibq": Look("IBQ", "#06a5c4", "square"),
    "fvq": Look("FVQ", "#1d4ed8", "diamond"),
    "fvq-constant": Look("FVQ, constant rate", "#111827", "up"),
    "fvq-linear": Look("FVQ, linear map", "#65a30d", "down"),
}
"""In the order in which points stand side by side."""
SHAPES = {
    "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "square": "M-4 -4h8v8h-8z",
    "up": "M0 -5.2L5 3.6H-5z",
    "diamond": "M0 -5.6L5.6 0L0 5.6L-5.6 0z",
    "down": "M0 5.2L5 -3.6H-5z",
}
STYLE = (
    "svg .series{fill:none;stroke-width:1.6;stroke-opacity:.55}svg .point{stroke:#fff;stroke-width:1}"
    "svg .range{stroke-width:1.8;fill:none}svg .mark{stroke:var(--soft)}svg .band{fill:#f4f6f9}"
)

Cell = Mapping[str, Any]
"""What came out of one training run: ``system``, ``codebook_size``, ``utilization`` ..."""


class Point(NamedTuple):
    """What the seeds of a system and K came to, in per cent."""

    size: int
    mean: float
    low: float
    high: float


def plot(cells: Sequence[Cell]) -> str:
    """An SVG file of the utilization of ``cells``, at least one: means, with the range of several seeds."""
    sizes = sorted({cell["codebook_size"] for cell in cells})
    series = {system: points(cells, system, "utilization") for system in LOOKS}
    series = {system: line for system, line in series.items() if line}
    right = WIDTH - LEGEND
    x = svg.Scale(sizes[0], sizes[-1], svg.LEFT + ROOM, right - svg.RIGHT - ROOM, log=True)
    y = svg.vertical(0, 100, height=HEIGHT)
    nearest = min((x(b) - x(a) for a, b in pairwise(sizes)), default=right)
    beside = min(BESIDE, 0.7 * nearest / len(series))
    parts = bands([x(size) for size in sizes], beside * len(series) + 10, y)
    parts += svg.y_axis(y, "utilization, % of K codes", right)
    parts += svg.x_axis(x, "number of codes K (log scale)", HEIGHT, {size: f"{size:,}" for size in sizes})
    parts += expectation(points(cells, None, "uniform_expectation"), x, y)
    above: list[str] = []
    for index, (system, line) in enumerate(series.items()):
        aside = (index - (len(series) - 1) / 2) * beside
        at = [(x(point.size) + aside, y(point.mean)) for point in line]
        parts += connected(LOOKS[system], at)
        above += bars(LOOKS[system], line, at, y) + [marker(LOOKS[system], *place) for place in at]
    parts += above + legend(series, right)
    return svg.document(parts, "Utilization by codebook size", WIDTH, HEIGHT, STYLE, white=True)


def points(cells: Sequence[Cell], system: str | None, number: str) -> list[Point]:
    """Means and ranges of a number, a point for each K; of one system, or of all."""
    found: dict[int, list[float]] = {}
    for cell in cells:
        if system in (None, cell["system"]):
            found.setdefault(cell["codebook_size"], []).append(100 * cell[number])
    return [Point(size, sum(v) / len(v), min(v), max(v)) for size, v in sorted(found.items())]


def expectation(line: Sequence[Point], x: svg.Scale, y: svg.Scale) -> list[str]:
    """What uniform use would show, dashed across the plot."""
    path = "".join(f"L{x(point.size):.1f} {y(point.mean):.1f}" for point in line)
    left, right = x.start - ROOM, x.end + ROOM
    return [f'<path class="mark" d="M{left} {y(line[0].mean):.1f}{path}H{right}"/>']


def bands(places: Sequence[float], width: float, y: svg.Scale) -> list[str]:
    """The ground of the points that belong to one K."""
    return [
        f'<rect class="band" x="{place - width / 2:.1f}" y="{y.end}" width="{width:.1f}"'
        f' height="{y.start - y.end}"/>'
        for place in places
    ]


def connected(look: Look, at: Sequence[tuple[float, float]]) -> list[str]:
    """A line through the points of a system, if there are two."""
    path = "L".join(f"{a:.1f} {b:.1f}" for a, b in at)
    return [f'<path class="series" stroke="{look.colour}" d="M{path}"/>'] if len(at) > 1 else []


def bars(look: Look, line: Sequence[Point], at: Sequence[tuple[float, float]], y: svg.Scale) -> list[str]:
    """A bar from the lowest to the highest seed of each point, where they differ."""
    return [
        f'<path class="range" stroke="{look.colour}"'
        f' d="M{a - 4:.1f} {y(point.low):.1f}h8m-4 0V{y(point.high):.1f}m-4 0h8"/>'
        for point, (a, _) in zip(line, at)
        if point.low < point.high
    ]


def marker(look: Look, a: float, b: float) -> str:
    """The mark of a system at a place."""
    place = f'transform="translate({a:.1f} {b:.1f})"'
    return f'<path class="point" fill="{look.colour}" {place} d="{SHAPES[look.mark]}"/>'


def legend(series: Mapping[str, Sequence[Point]], left: float) -> list[str]:
    """Names of the systems, those above that use most of their largest codebook."""
    parts, top = [], svg.TOP + 8
    order = sorted(series, key=lambda system: series[system][-1].mean, reverse=True)
    for index, system in enumerate(order):
        look, b = LOOKS[system], top + index * ROW
        parts.append(f'<path class="series" stroke="{look.colour}" d="M{left} {b}h28"/>')
        parts.append(marker(look, left + 14, b))
        parts.append(svg.text(left + 38, b + 4, look.name, "start", "label"))
    b = top + len(order) * ROW
    return [
        *parts,
        f'<path class="mark" d="M{left} {b}h28"/>',
        svg.text(left + 38, b + 4, UNIFORM, "start", "label"),
    ]
