"""The numbers of a run over its steps, as one SVG file that loads nothing: small panels over one x axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vqcli.report import svg

Line = Mapping[str, float]
"""An object of ``metrics.jsonl``: ``step``, and numbers by name."""
Points = list[tuple[float, float]]
"""(step, value)."""

WIDTH, HEIGHT, COLUMNS = 480, 208, 3
"""Of a panel with its margins, and panels side by side."""
HEADER = 60
MOST_POINTS = 500
"""Points of a line; more are thinned to their means."""
LOG_FROM = 100
"""Ratio of the largest to the smallest value from which on a panel is logarithmic."""

ORDER = (
    ("adaptive_weight",),
    ("discriminator/loss",),
    ("discriminator/real", "discriminator/fake"),
    ("discriminator/lecam",),
    ("gradient_norm", "discriminator/gradient_norm"),
    ("learning_rate", "discriminator/learning_rate"),
    ("utilization",),
    ("perplexity",),
    ("weakest_slot",),
    ("slots", "revived_slots"),
    ("images_per_second",),
    ("rejected",),
    ("validation/psnr",),
    ("validation/ssim",),
    ("validation/lpips_vgg",),
    ("validation/lpips_alex",),
    ("validation/utilization", "validation/uniform_expectation"),
)
"""Panels behind the losses; other numbers of a validation follow."""
COUNTED = {"utilization_tokens", "validation/tokens", "validation/images", "validation/training_images"}
"""Over how much something was measured: nothing to see in a curve."""
SHARES = {"utilization", "uniform_expectation"}
"""Numbers that are shares, whoever measured them."""
MARKS = (
    ("discriminator/loss", "discriminator starts"),
    ("adversarial", "heard by the tokenizer"),
)
"""Numbers whose first step is marked in every panel, with what happens then."""

STYLE = """
:root{--page:#fff;--second:#0f8a5f}
@media(prefers-color-scheme:dark){:root{--page:#12151c;--second:#4fd1a5}}
svg .page{fill:var(--page)}svg .title{font-size:18px;font-weight:650;fill:var(--ink)}
svg .line{stroke-width:1.6}svg .second{stroke:var(--second)}svg .dot{stroke-width:4}
svg .name0{fill:var(--line)}svg .name1{fill:var(--second)}
svg .mark1{stroke-dasharray:1.5 3}
"""


@dataclass(frozen=True)
class Mark:
    """A step at which something begins, marked in every panel."""

    step: float
    note: str
    kind: str


def curves(lines: Sequence[Line], title: str) -> str:
    """An SVG file of all numbers over the steps of a run, a panel each or two that belong together.

    ``lines`` are those of ``metrics.jsonl``, in order; what is missing or not finite is left out.
    """
    numbers = gather(lines)
    last = max([line["step"] for line in lines], default=0)
    x = svg.horizontal(0, last, width=WIDTH)
    marks = marks_in(lines, numbers)
    panels = arrange(list(numbers))
    columns = min(COLUMNS, max(1, len(panels)))
    width, height = columns * WIDTH, HEADER + math.ceil(len(panels) / columns) * HEIGHT
    parts = [f'<rect class="page" width="{width}" height="{height}"/>', *header(title, last, marks)]
    for index, names in enumerate(panels):
        row, column = divmod(index, columns)
        inside = panel({name: numbers[name] for name in names}, x, marks)
        parts.append(f'<g transform="translate({column * WIDTH} {HEADER + row * HEIGHT})">{inside}</g>')
    return svg.document(parts, f"Training curves of {title}", width, height, STYLE)


def gather(lines: Sequence[Line]) -> dict[str, Points]:
    """The finite values of every number, in the order in which they first appear."""
    numbers: dict[str, Points] = {}
    for line in lines:
        for name, value in line.items():
            if name != "step" and name not in COUNTED and math.isfinite(value):
                numbers.setdefault(name, []).append((line["step"], value))
    return numbers


def arrange(names: Sequence[str]) -> list[list[str]]:
    """Which numbers share a panel, in order: losses, what tells of training, measurements."""
    known = [[name for name in group if name in names] for group in ORDER]
    rest = [[name] for name in names if not any(name in group for group in ORDER)]
    losses = [group for group in rest if not group[0].startswith("validation/")]
    measured = [group for group in rest if group not in losses]
    return losses + [group for group in known if group] + measured


def marks_in(lines: Sequence[Line], numbers: Mapping[str, Points]) -> list[Mark]:
    """What begins on the way: nothing where it was there from the first line on."""
    marks: list[Mark] = []
    for name, note in MARKS:
        step = numbers[name][0][0] if name in numbers else None
        if step is not None and step > lines[0]["step"] and step not in [mark.step for mark in marks]:
            marks.append(Mark(step, note, f"mark mark{len(marks)}"))
    return marks


def header(title: str, last: float, marks: Sequence[Mark]) -> list[str]:
    """What the panels show, and what their marks mean."""
    parts = [svg.text(8, 26, title, "start", "title")]
    told = f"{last:,.0f} steps"
    for index, mark in enumerate(marks):
        left = 110 + index * 300
        parts.append(f'<path class="{mark.kind}" d="M{left} 45h34"/>')
        parts.append(svg.text(left + 42, 49, f"{mark.note} (step {mark.step:,.0f})", "start", "note"))
    return [*parts, svg.text(8, 49, told, "start")]


def panel(numbers: Mapping[str, Points], x: svg.Scale, marks: Sequence[Mark]) -> str:
    """One panel of up to two numbers, each named with its last value."""
    thin = {name: thinned(points) for name, points in numbers.items()}
    y = fitting([value for points in thin.values() for _, value in points])
    form = svg.per_cent if all(is_share(name) for name in numbers) else svg.compact
    parts = svg.y_axis(y, "", WIDTH, form) + svg.x_axis(x, "step", HEIGHT)
    for mark in marks:
        parts.append(f'<path class="{mark.kind}" d="M{x(mark.step):.1f} {svg.TOP}V{HEIGHT - svg.BOTTOM}"/>')
    places = ((8, "start"), (WIDTH - svg.RIGHT, "end"))
    for index, ((name, points), (left, anchor)) in enumerate(zip(thin.items(), places)):
        parts.append(svg.line(points, x, y, "line second" if index else "line"))
        named = f"{name} {form(numbers[name][-1][1], 4)}"
        kind = f"name{index}" if len(thin) > 1 else "label"
        parts.append(svg.text(left, 14, named, anchor, kind))
    return "".join(parts)


def is_share(name: str) -> bool:
    """Whether a number is a share of 1, which people read in per cent."""
    return name.rpartition("/")[2] in SHARES


def fitting(values: Sequence[float]) -> svg.Scale:
    """A y axis from the smallest to the largest value, logarithmic over more than two decades."""
    low, high = min(values), max(values)
    log = low > 0 and high > LOG_FROM * low
    room = 0 if log else 0.04 * (high - low)
    return svg.vertical(low - room, high + room, log, HEIGHT)


def thinned(points: Points) -> Points:
    """At most ``MOST_POINTS`` points: the means of neighbours, equally many each, so that noise looks even.

    The last point may stand for fewer.
    """
    share = math.ceil(len(points) / MOST_POINTS)
    if share == 1:
        return points
    starts = np.arange(0, len(points), share)
    sums = np.add.reduceat(np.array(points, np.float64), starts)
    counts = np.diff(starts, append=len(points))
    return [(step, value) for step, value in (sums / counts[:, None]).tolist()]
