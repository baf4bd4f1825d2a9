"""Labels: what of all that people write is one (words, numbers, nothing), and class numbers and names."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vqcli.errors import VqcliError

Written = str | int | None
"""A label as it stands in a folder's name, a member or a column."""
FOLDER = "folder"
"""As a label column: the folder that a picture lies in, as its name tells."""
SURE = 1000
"""Below this numbers that are text are class numbers, however few of them there are."""
SPARSEST = 10
"""From there on they are where at least one of so many is there: ``2019`` and ``2020`` are years."""
MOST_CHARACTERS = 256
"""Of a label that is a word."""
MOST = 1 << 16
"""From there on numbers of any type are of a catalogue, and no class numbers."""
_NUMBER = re.compile(r"-?\d{1,18}(\.0+)?")
_ANY_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")


@dataclass
class LabelReader:
    """Takes values of any kind as labels, and counts those that are none."""

    wrong: int = 0
    example: str = ""

    def take(self, value: Any) -> Written:
        """The label that a value is; None for nothing, and for what can be none."""
        if type(value) is int and -1 <= value < 1 << 31:
            return value  # nearly always
        match value:
            case None:
                return None
            case int() if value >= -1:
                return value if value < 1 << 31 else str(value)
            case float() if math.isnan(value):
                return None
            case float() if value.is_integer():
                return self.take(int(value))
            case bytes():
                value = value.decode("utf-8", "replace")
        if isinstance(value, str) and len(text := value.strip()) <= MOST_CHARACTERS and text.isprintable():
            return text
        self.refuse(value)
        return None

    def refuse(self, value: Any) -> None:
        """Count a value that is no label."""
        self.wrong += 1
        self.example = self.example or ascii(value)[:40]

    def take_text(self, value: bytes) -> Written:
        """The label in a file that holds nothing else, where digits are a number."""
        label = self.take(value.removeprefix(b"\xef\xbb\xbf"))
        if isinstance(label, str) and _NUMBER.fullmatch(label):
            return self.take(int(label.partition(".")[0]))
        return label

    def remarks(self) -> list[str]:
        """A sentence, where something was no label."""
        if not self.wrong:
            return []
        images = "an image has" if self.wrong == 1 else f"{self.wrong:,} images have"
        return [f"{images} something else than a number or a word as label ({self.example}): taken as none"]


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
    and few of them (``SURE``, ``SPARSEST``), are names, in the order of the numbers; so are all of any type
    where one is ``MOST`` or more, and numbers among words, which is told.
    """
    stripped = [_text(label) if isinstance(label, str) else label for label in written]
    known = [None if label in ("", -1, "-1") else label for label in stripped]
    numbers = [label for label in known if isinstance(label, int)]
    if len(numbers) == len(known) - known.count(None) and max(numbers, default=0) < MOST:
        return Numbered([None if label is None else int(label) for label in known], [])
    names = {str(label) for label in known if label is not None}
    numeric = all(name.isascii() and name.isdigit() for name in names)
    if numeric and max(map(int, names)) < min(MOST, max(SURE, SPARSEST * len(names))):
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
    words = [name for name in classes if not _ANY_NUMBER.fullmatch(name)]
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


class ShardLabels(NamedTuple):
    """Labels of a shard that may list its classes."""

    labels: list[Written]
    classes: list[str]
    """Names of the numbers among the labels; empty where the shard tells none."""


def merged(shards: Sequence[ShardLabels]) -> Numbered:
    """Class numbers over all shards: a word is the class of that name, a number that of its shard's list.

    Where lists differ, classes are taken together by name, in the order of the first list. Raises VqcliError
    where a shard has numbers alone beside lists that differ.
    """
    lists = list(dict.fromkeys(tuple(shard.classes) for shard in shards if shard.classes))
    if not lists:
        return numbered([label for shard in shards for label in shard.labels])
    number: dict[tuple[str, int], int] = {}
    for names in lists:
        for name in _told_apart(names):
            number.setdefault(name, len(number))
    found: list[int | None] = []
    beyond = 0
    for shard in shards:
        own = [number[name] for name in _told_apart(shard.classes or (lists[0] if len(lists) == 1 else ()))]
        for label in shard.labels:
            if label in (None, "") or (isinstance(label, int) and label < 0):
                found.append(None)
            elif isinstance(label, str):
                found.append(number.setdefault((label, 0), len(number)))
            elif not own:
                message = "some shards name their classes, others have numbers alone, and the names differ"
                raise VqcliError(message, hint="name shards of one data set, or --no-labels", reason="labels")
            else:
                beyond += label >= len(own)
                found.append(own[label] if label < len(own) else None)
    classes = [name for name, _ in number]
    remarks = [f"shards list different classes: taken together by name, {len(classes):,} classes"]
    remarks = remarks if len(lists) > 1 else []
    if beyond:
        remarks.append(f"labels beyond the list of classes are taken as none ({beyond:,})")
    return Numbered(found, classes, "; ".join(remarks))


def _told_apart(names: Sequence[str]) -> list[tuple[str, int]]:
    """Each name and how often it came before in its list: ImageNet has two classes called crane."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        result.append((name, seen[name]))
        seen[name] += 1
    return result
