"""Plots as SVG text, for pages that load nothing. Colours are CSS classes, defined in ``STYLE``,
and written into the shapes of files that stand alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vqcli.escapes import html
from vqcli.report.paint import dark, painted

Form = Callable[[float, int], str]
"""How numbers are written: value and digits -> text."""
NAMESPACE = "http://www.w3.org/2000/svg"
WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 68, 20, 24, 48
"""Margins around the plotted area."""
LEVELS = 7
"""Steps of the heat map's scale, besides the one for nothing at all."""

STYLE = """
:root{--ink:#1d2330;--soft:#667085;--rule:#e3e6ec;--line:#2563eb;--fill:#2563eb22;--mark:#c2410c;--none:#e11d48;
--h1:#440154;--h2:#443a83;--h3:#31688e;--h4:#21908d;--h5:#35b779;--h6:#8fd744;--h7:#fde725}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9f0;--soft:#98a2b3;--rule:#2b3241;--line:#6ea8fe;--fill:#6ea8fe2b;
--mark:#fb923c;--none:#ff4d6d}}
svg{display:block;width:100%;height:auto}
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
svg .label{fill:var(--ink)}svg .note{fill:var(--mark)}
svg .rule{stroke:var(--rule);stroke-width:1;fill:none}
svg .line{stroke:var(--line);stroke-width:2.2;fill:none;stroke-linejoin:round}
svg .area{fill:var(--fill)}svg .bar{fill:var(--line)}svg .bar.none,svg .h0{fill:var(--none)}
svg .mark{stroke:var(--mark);stroke-width:1.5;stroke-dasharray:5 4;fill:none}
svg .h1{fill:var(--h1)}svg .h2{fill:var(--h2)}svg .h3{fill:var(--h3)}
svg .h4{fill:var(--h4)}svg .h5{fill:var(--h5)}
svg .h6{fill:var(--h6)}svg .h7{fill:var(--h7)}
"""


@dataclass(frozen=True)
class Scale:
    """Where values from ``low`` to ``high`` stand between two positions of the picture."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (
            map(math.log10, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start + (self.end - self.start) * ((value - low) / (high - low) if high > low else 0.5)

    def ticks(self) -> list[float]:
        """Round values inside the scale: powers of ten, ten of them at most, or about five even steps."""
        if self.log:
            powers = range(
                math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1
            )
            return [10.0**power for power in powers[:: 1 + len(powers) // 11]]
        if self.high <= self.low:
            return [self.low]
        rough = (self.high - self.low) / 5
        unit = 10 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
        return [
            index * step
            for index in range(math.ceil(self.low / step), math.floor(self.high / step + 1e-9) + 1)
        ]


def compact(value: float, digits: int = 3) -> str:
    """``950``, ``1.5k``, ``20M``: a number short enough for an axis."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g}{letter}"
    return f"{value:.{digits}g}"


def per_cent(value: float, digits: int = 3) -> str:
    """``99.6%``: a share as people read it."""
    return f"{100 * value:.{digits}g}%"


def tick_names(ticks: Sequence[float], form: Form = compact) -> list[str]:
    """What stands at the ticks of an axis: no two alike, with as few digits as that takes."""
    names: list[str] = []
    for digits in range(3, 17):
        names = [form(tick, digits) for tick in ticks]
        if len(set(names)) == len(ticks):
            break
    return names


def text(x: float, y: float, content: str, anchor: str = "middle", kind: str = "") -> str:
    """A line of text, escaped."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{html(content)}</text>'


def picture(parts: Iterable[str], label: str, width: float = WIDTH, height: float = HEIGHT) -> str:
    """A whole SVG; ``label`` is read to those who cannot see it."""
    shapes = "".join(parts)
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html(label)}">{shapes}</svg>'


def document(
    parts: Iterable[str], label: str, width: float, height: float, style: str = "", *, white: bool = False
) -> str:
    """A picture that is a file of its own, coloured by ``STYLE`` and more style for every reader.

    ``white`` puts it on a white ground in light colours, whatever the viewer prefers.
    """
    ground = [f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>'] if white else []
    theme = "" if white else f"<style>{dark(STYLE + style)}</style>"
    whole = painted(picture([theme, *ground, *parts], label, width, height), STYLE + style)
    size = f'width="{width:g}" height="{height:g}" '
    return whole.replace("<svg ", f'<svg xmlns="{NAMESPACE}" {size}', 1) + "\n"


def horizontal(low: float, high: float, log: bool = False, width: float = WIDTH) -> Scale:
    """A scale along the x axis of a plot that is ``width`` wide with its margins."""
    return Scale(low, high, LEFT, width - RIGHT, log)


def vertical(low: float, high: float, log: bool = False, height: float = HEIGHT) -> Scale:
    """A scale along the y axis of a plot that is ``height`` high with its margins, upwards."""
    return Scale(low, high, height - BOTTOM, TOP, log)


def y_axis(y: Scale, label: str, width: float = WIDTH, form: Form = compact) -> list[str]:
    """Rules with numbers, written in a form, and what they count above."""
    parts = [text(8, 14, label, "start", "label")]
    ticks = y.ticks()
    for tick, name in zip(ticks, tick_names(ticks, form)):
        parts.append(f'<path class="rule" d="M{LEFT} {y(tick):.1f}H{width - RIGHT}"/>')
        parts.append(text(LEFT - 8, y(tick) + 4, name, "end"))
    return parts


def x_axis(
    x: Scale, label: str, height: float = HEIGHT, named: Mapping[float, str] | None = None
) -> list[str]:
    """Numbers below the plot, round ones unless they are ``named``, and what they count."""
    named = dict(zip(x.ticks(), tick_names(x.ticks()))) if named is None else named
    parts = [text((x.start + x.end) / 2, height - 8, label, kind="label")]
    return parts + [text(x(tick), height - BOTTOM + 18, name) for tick, name in named.items()]


def line(points: Sequence[tuple[float, float]], x: Scale, y: Scale, kind: str = "line") -> str:
    """A line through the points; a dot where there is but one."""
    if len(points) == 1:
        (a, b), *_ = points
        return f'<circle class="{kind} dot" cx="{x(a):.1f}" cy="{y(b):.1f}" r="2"/>'
    return f'<path class="{kind}" d="M{_path(points, x, y)}"/>'


def _path(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    return "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in points)


def curve(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> list[str]:
    """A line through the points, the area below it tinted."""
    if not points:
        return []
    path, bottom = _path(points, x, y), HEIGHT - BOTTOM
    first, last = x(points[0][0]), x(points[-1][0])
    area = f'<path class="area" d="M{first:.1f} {bottom}L{path}L{last:.1f} {bottom}z"/>'
    return [area, f'<path class="line" d="M{path}"/>']


def level_line(value: float, y: Scale, note: str) -> list[str]:
    """A dashed line across the plot, with a note at its left end."""
    height = y(value)
    line = f'<path class="mark" d="M{LEFT} {height:.1f}H{WIDTH - RIGHT}"/>'
    below = 16 if height + 20 < HEIGHT - BOTTOM else -6
    return [line, text(LEFT + 6, height + below, note, "start", "note")]


def bars(names: Sequence[str], values: Sequence[float], y: Scale, kinds: Sequence[str]) -> list[str]:
    """A bar each, its name below and its value above."""
    slot = (WIDTH - RIGHT - LEFT) / max(len(names), 1)
    width = min(slot * 0.72, 64)
    bottom = HEIGHT - BOTTOM
    parts = []
    for index, (name, value, kind) in enumerate(zip(names, values, kinds)):
        middle = LEFT + slot * (index + 0.5)
        parts.append(
            f'<rect class="bar {kind}" rx="2" x="{middle - width / 2:.1f}" y="{y(value):.1f}"'
            f' width="{width:.1f}" height="{bottom - y(value):.1f}"/>'
        )
        parts += [text(middle, bottom + 18, name), text(middle, y(value) - 5, compact(value), kind="label")]
    return parts


def heat_map(levels: NDArray[np.integer], label: str) -> str:
    """Cells coloured by level, 0 (nothing) to ``LEVELS``; -1 draws none. Equal neighbours are one shape."""
    rows, columns = levels.shape
    paths: dict[int, list[str]] = {}
    for row in range(rows):
        edges = [0, *(np.flatnonzero(np.diff(levels[row])) + 1).tolist(), columns]
        for left, right in pairwise(edges):
            paths.setdefault(int(levels[row, left]), []).append(
                f"M{left} {row}h{right - left}v1h{left - right}z"
            )
    shapes = [
        f'<path class="h{level}" d="{"".join(path)}"/>' for level, path in sorted(paths.items()) if level >= 0
    ]
    return picture(['<g shape-rendering="crispEdges">', *shapes, "</g>"], label, columns, rows)
