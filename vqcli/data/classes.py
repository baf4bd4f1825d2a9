"""Classes by name: ImageNet's, and what a user may call one of a generator's. Neither torch nor numpy."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vqcli.errors import VqcliError

_NEGATIVE = re.compile(r"\s*-[0-9.]+\s*")
LISTED = 5
"""Candidates that a message names."""


class ImageNetClass(NamedTuple):
    """One of the 1000 classes of ILSVRC 2012; its number is its place in ``imagenet()``."""

    wnid: str
    """Its WordNet id, which its folder is called by: ``n02099601``."""
    name: str


@cache
def imagenet() -> tuple[ImageNetClass, ...]:
    """The 1000 classes in the order every published classifier and generator numbers them."""
    pairs = json.loads(Path(__file__).with_name("imagenet.json").read_bytes())
    return tuple(ImageNetClass(*pair) for pair in pairs)


@cache
def _words() -> dict[str, str]:
    """ImageNet's names by WordNet ids."""
    return dict(imagenet())


def readable(classes: Sequence[str]) -> list[str]:
    """Names for people: ImageNet's where all classes are called by its WordNet ids, else as they are."""
    names = _words()
    return [names[wnid] for wnid in classes] if names.keys() >= set(classes) else list(classes)


def places(ours: Sequence[str], theirs: Sequence[str]) -> list[int | None]:
    """The number of each of our classes in another list; None where no class, or several, have its name.

    A WordNet id and ImageNet's words for it are one name; lists that are equal agree whatever is in them.
    """
    if list(ours) == list(theirs) or readable(ours) == readable(theirs):
        return list(range(len(ours)))
    found: dict[str, list[int]] = {}
    for i, (name, words) in enumerate(zip(theirs, readable(theirs))):
        for known in {name, _plain(words)}:
            found.setdefault(known, []).append(i)
    if list(theirs) == [known.name for known in imagenet()]:  # two pairs of them share a name
        found |= {known.wnid: [i] for i, known in enumerate(imagenet())}
    asked = (found.get(name) or found.get(_plain(_words().get(name, name)), []) for name in ours)
    return [numbers[0] if len(numbers) == 1 else None for numbers in asked]


class Meant(NamedTuple):
    """Classes that a user means by a text."""

    numbers: list[int]
    remark: str = ""
    """How it was understood, where it may be understood otherwise; empty else."""


def find_classes(text: str, names: Sequence[str], count: int) -> Meant:
    """The classes a user means, of ``count``; ``names`` is empty where they have none.

    ``207`` is a number, ``0-9`` all of 0 to 9, ``all`` every one. Anything else is a name: one that a class
    has, or its WordNet id; else the one that begins so, or has it among its words, which is told. So is a
    number beyond all classes that one of them is called by. Raises VqcliError where that is none, or more
    than one.
    """
    numbers = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", text.strip())
    if numbers and text.strip() in names and int(numbers[2] or numbers[1]) >= count:
        own = names.index(text.strip())
        return Meant(
            [own], f"there is no class number {text.strip()}: taken is the one so called, number {own}"
        )
    if numbers:
        found = _range(int(numbers[1]), int(numbers[2] or numbers[1]), count)
        return Meant(found, _namesake(text.strip(), found, names))
    if _plain(text) == "all":
        return Meant(list(range(count)))
    return _named(text, names, count)


def _namesake(text: str, found: list[int], names: Sequence[str]) -> str:
    """A sentence where a class is called by a number that is not its own."""
    other = next((i for i, name in enumerate(names) if name == text), None)
    if other is None or other in found:
        return ""
    name = f", '{names[found[0]]}'" if found[0] < len(names) else ""
    return f"class {text} is number {text}{name}; the one called '{text}' is number {other}"


def _named(text: str, names: Sequence[str], count: int) -> Meant:
    if text.strip() in _words() and text.strip() in names:
        return Meant([names.index(text.strip())])
    wanted, known = _plain(_words().get(text.strip(), text)), [_plain(name) for name in readable(names)]
    ways: tuple[Callable[[str], bool], ...] = (
        lambda name: name == wanted,
        lambda name: name.startswith(wanted) or f" {wanted} " in f" {name} ",
    )
    for whole, fits in zip((True, False), ways if wanted else ()):
        found = [i for i, name in enumerate(known) if fits(name)]
        if len(found) == 1:
            name = readable(names)[found[0]]
            return Meant(found, "" if whole else f"'{text.strip()}' is taken for {name} ({found[0]})")
        if found:
            hint = "give its number" if known[found[0]] == wanted else "give the whole name, or its number"
            raise VqcliError(
                f"'{text}' is the name of no single class: {_listed(found, readable(names))}",
                hint=hint,
                reason="class",
            )
    raise _unknown(text, readable(names), count)


def _range(first: int, last: int, count: int) -> list[int]:
    for number in (first, last):
        if number >= count:
            raise VqcliError(
                f"class {number} is out of range: the generator knows 0 to {count - 1}",
                hint=f"give numbers from 0 to {count - 1}, or a name",
                reason="class",
            )
    if first > last:
        raise VqcliError(
            f"{first}-{last} is no range of classes", hint=f"give {last}-{first}", reason="class"
        )
    return list(range(first, last + 1))


def _plain(name: str) -> str:
    """What is compared: neither case, nor underlines, hyphens and blanks; but the sign of a number."""
    if _NEGATIVE.fullmatch(name):
        return name.strip()
    return " ".join(re.sub("[-_]", " ", name.casefold()).split())


def _listed(found: Sequence[int], names: Sequence[str]) -> str:
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return ", ".join(f"{names[i]} ({i})" for i in found[:LISTED]) + more


def _unknown(text: str, names: Sequence[str], count: int) -> VqcliError:
    numbers = f"give a number from 0 to {count - 1}"
    if not names:
        message = f"'{text}' is no number, and the generator's classes have no names"
        return VqcliError(message, hint=numbers, reason="class")
    places: dict[str, int] = {}
    for i, name in enumerate(names):
        places.setdefault(_plain(name), i)
    near = [places[name] for name in difflib.get_close_matches(_plain(text), list(places), n=3)]
    hint = f"did you mean {_listed(near, names)}?" if near else f"{numbers}, or a class's name"
    if re.fullmatch(r"\s*-?[0-9]+[,;\s-][0-9,;\s-]*|-[0-9]+", text):
        hint = "--prompt-class takes one number, or a range such as 0-9, and may repeat"
    return VqcliError(f"there is no class '{text}'", hint=hint, reason="class")
