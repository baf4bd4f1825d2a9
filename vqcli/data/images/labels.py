"""From what people write as labels (words, numbers, nothing) to class numbers and their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Written = str | int | None
"""A label as it stands in a folder's name, a member or a column."""
SURE = 1000
"""Below this numbers that are text are class numbers, however few of them there are."""
SPARSEST = 10
"""From there on they are where at least one of so many is there: ``2019`` and ``2020`` are years."""


class Numbered(NamedTuple):
    """Labels as numbers."""

    labels: list[int | None]
    classes: list[str]
    """Name of every number; empty where nobody told names."""
    remark: str = ""
    """How they were read, where there is another way; empty otherwise."""


def numbered(written: Sequence[Written]) -> Numbered:
    """Class numbers of labels: whole numbers are themselves, words are numbered in alphabetical order.

    Nothing, ``-1`` and blanks are no label. Numbers of type int have no names. Where text is a number, one
    that no image has keeps its own name: of folders 1 and 3 the classes are 0, 1, 2, 3. Large numbers,
    and few of them (``SURE``, ``SPARSEST``), are names, in the order of the numbers.
    """
    stripped = [label.strip() if isinstance(label, str) else label for label in written]
    known = [None if label in ("", -1, "-1") else label for label in stripped]
    if all(label is None or isinstance(label, int) for label in known):
        return Numbered([None if label is None else int(label) for label in known], [])
    names = {str(label) for label in known if label is not None}
    numeric = all(name.isascii() and name.isdigit() for name in names)
    if numeric and max(map(int, names)) < max(SURE, SPARSEST * len(names)):
        return _as_numbers(known, names)
    classes = sorted(names, key=lambda name: (int(name), name)) if numeric else sorted(names)
    number = {name: i for i, name in enumerate(classes)}
    remark = f"labels are numbers up to {classes[-1]}: taken as names of {len(classes):,} classes"
    return Numbered(
        [None if label is None else number[str(label)] for label in known],
        classes,
        remark if numeric else "",
    )


def _as_numbers(known: Sequence[Written], names: set[str]) -> Numbered:
    own = {int(name): name for name in sorted(names, key=len, reverse=True)}
    classes = [own.get(i, str(i)) for i in range(max(own) + 1)]
    remark = f"labels are numbers: taken as class numbers, {min(own)} to {max(own)}"
    return Numbered([None if label is None else int(label) for label in known], classes, remark)
