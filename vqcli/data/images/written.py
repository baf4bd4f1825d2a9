"""What stands where a label should be, and how much of it is one."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vqcli.data.images.labels import Numbered, Written, numbered
from vqcli.errors import VqcliError

LABEL_NAMES = ("label", "labels", "fine_label", "cls", "class", "class_label", "class_id", "class_name",
               "category", "target", "coarse_label")  # fmt: skip
"""What columns and fields with a picture's label are called; the first that is there is taken."""
MOST_CHARACTERS = 256
"""Of a label that is a word."""
_NUMBER = re.compile(r"-?\d{1,18}(\.0+)?")


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


def field_of(value: Any, name: str) -> Any:
    """A field of a JSON value, ``a.b`` inside of another; None where there is none."""
    if not isinstance(value, dict):
        return None
    if name in value:
        return value[name]
    first, dot, rest = name.partition(".")
    return field_of(value.get(first), rest) if dot else None


class Listed(NamedTuple):
    """Labels of a shard that may list its classes."""

    labels: list[Written]
    classes: list[str]
    """Names of the numbers among the labels; empty where the shard tells none."""


def merged(shards: Sequence[Listed]) -> Numbered:
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
