"""From what people write as labels (words, numbers, nothing) to class numbers and their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

Written = str | int | None
"""A label as it stands in a folder's name, a member or a column."""
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
MOST = 1 << 16
"""Class numbers that a set of images may have where nobody lists its classes."""


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
    that no image has keeps its own name: of folders 1 and 3 the classes are 0, 1, 2, 3. Where there are
    numbers from ``MOST`` on, all are names, in the order of the numbers. Numbers among words are names, which
    is told.
    """
    stripped = [_text(label) if isinstance(label, str) else label for label in written]
    known = [None if label in ("", -1, "-1") else label for label in stripped]
    numbers = [label for label in known if isinstance(label, int)]
    if len(numbers) == len(known) - known.count(None) and max(numbers, default=0) < MOST:
        return Numbered([None if label is None else int(label) for label in known], [])
    names = {str(label) for label in known if label is not None}
    numeric = all(name.isascii() and name.isdigit() for name in names)
    if numeric and max(map(int, names)) < MOST:
        return _as_numbers(known, names)
    classes = sorted(names, key=lambda name: (int(name), name)) if numeric else sorted(names)
    number = {name: i for i, name in enumerate(classes)}
    remark = f"labels are numbers up to {classes[-1]}" if numeric else _some_numbers(classes)
    remark += f": taken as names of {len(classes):,} classes" if remark else ""
    return Numbered([None if label is None else number[str(label)] for label in known], classes, remark)


def _text(label: str) -> str:
    """A label that any JSON can hold: bytes that are no UTF-8, in names of folders, stand as escapes."""
    label = label.strip()
    return label if label.isascii() else label.encode("utf-8", "backslashreplace").decode()


def _some_numbers(classes: Sequence[str]) -> str:
    """What is said where some of the names are numbers, and class numbers cannot be meant."""
    words = [name for name in classes if not _NUMBER.fullmatch(name)]
    if len(words) == len(classes):
        return ""
    return (
        f"labels are numbers{f', and words such as {words[0]}' if words else ', below 0 or with a fraction'}"
    )


def _as_numbers(known: Sequence[Written], names: set[str]) -> Numbered:
    own = {int(name): name for name in sorted(names, key=len, reverse=True)}
    classes = [own.get(i, str(i)) for i in range(max(own) + 1)]
    remark = f"labels are numbers: taken as class numbers, {min(own)} to {max(own)}"
    again = sorted(name for name in names if own[int(name)] != name)
    remark += f" ({again[0]} and {own[int(again[0])]} are one)" if again else ""
    return Numbered([None if label is None else int(label) for label in known], classes, remark)
