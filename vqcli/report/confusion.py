"""A confusion matrix as a picture: a row for each class, a column for what its images were taken for.

Shape letters: P pairs of a class and a first guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vqcli.report import svg

SIDE, LEAST = 640, 2
"""Pixels of all cells together, and of the smallest."""
NAMED = 60
"""Classes up to which rows and columns have names."""
LETTERS = 18
"""Of a name, at most."""
SHARES = (0.0, 0.002, 0.01, 0.05, 0.2, 0.5, 0.8)
"""Shares of a class's images above which a cell has the next colour of the heat map."""
COUNTED, BRIGHT = 32, 5
"""Pixels of a cell from which its number stands in it, and the colour from which that is dark."""
STYLE = "svg .ground{fill:var(--rule)}svg .count{fill:#1d2330}svg .count.dim{fill:#fff}"


def confusion(pairs: np.ndarray, every: Sequence[Mapping[str, Any]]) -> str:
    """An SVG file of pairs (P, 3): class, guess and images; ``every`` tells of the classes that occurred.

    Cells are coloured by their share of a class's images; what never occurred is left blank.
    """
    names = {one["mistaken_for"]: one["mistaken_for_name"] for one in every}
    names |= {one["class"]: one["name"] for one in every}
    names = {label: name or str(label) for label, name in names.items()}
    labels = np.unique(pairs[:, :2]).tolist()
    at = {label: i for i, label in enumerate(labels)}
    cell = max(LEAST, SIDE // max(1, len(labels)))
    named = len(labels) <= NAMED
    margin = 8 + 7 * max(len(_short(names.get(label, str(label)))) for label in labels) if named else 24
    images = {one["class"]: one["images"] for one in every}
    side = margin + cell * len(labels) + 16
    parts = [f'<rect class="ground" x="{margin}" y="{margin}" width="{side - margin - 16}"'
             f' height="{side - margin - 16}"/>']  # fmt: skip
    for label, guess, count in pairs.tolist():
        x, y = margin + cell * at[guess], margin + cell * at[label]
        level = sum(count / images[label] > share for share in SHARES)
        shown = f"{names.get(label, label)} taken for {names.get(guess, guess)}: {count}"
        parts.append(
            f'<rect class="h{level}" x="{x}" y="{y}" width="{cell}" height="{cell}">'
            f"<title>{svg.html(shown)}</title></rect>"
        )
        if cell >= COUNTED:
            kind = "count dim" if level < BRIGHT else "count"
            parts.append(svg.text(x + cell / 2, y + cell / 2 + 4, str(count), kind=kind))
    if named:
        parts += _headings([_short(names.get(label, str(label))) for label in labels], margin, cell)
    return svg.document(parts, "confusion matrix", side, side, STYLE, white=True)


def _headings(names: Sequence[str], margin: float, cell: float) -> list[str]:
    """Names to the left of rows, and above columns, from below upwards."""
    parts = []
    for i, name in enumerate(names):
        middle = margin + cell * (i + 0.5)
        parts.append(svg.text(margin - 6, middle + 4, name, "end", "label"))
        turned = svg.text(middle + 4, margin - 6, name, "start", "label")
        parts.append(
            turned.replace("<text ", f'<text transform="rotate(-90 {middle + 4:.1f} {margin - 6})" ', 1)
        )
    return parts


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
