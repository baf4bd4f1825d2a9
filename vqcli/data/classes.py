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


def readable(classes: Sequence[str]) -> list[str]:
    """Names for people: ImageNet's where all classes are called by its WordNet ids, else as they are."""
    names = dict(imagenet())
    return [names[wnid] for wnid in classes] if names.keys() >= set(classes) else list(classes)


def find_classes(text: str, names: Sequence[str], count: int) -> list[int]:
    """The numbers of the classes a user means, of ``count``; ``names`` is empty where they have none.

    ``207`` is a number, ``0-9`` all of 0 to 9; anything else a name, whole, or the one that begins so, or the
    one that has it among its words. Raises VqcliError where that is none, or more than one.
    """
    numbers = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", text.strip())
    if numbers:
        return _range(int(numbers[1]), int(numbers[2] or numbers[1]), count)
    wanted, known = _plain(text), [_plain(name) for name in names]
    ways: tuple[Callable[[str], bool], ...] = (
        lambda name: name == wanted,
        lambda name: name.startswith(wanted) or f" {wanted} " in f" {name} ",
    )
    for fits in ways if wanted else ():
        found = [i for i, name in enumerate(known) if fits(name)]
        if len(found) == 1:
            return found
        if found:
            hint = "give its number" if known[found[0]] == wanted else "give the whole name, or its number"
            raise VqcliError(
                f"'{text}' is the name of no single class: {_listed(found, names)}", hint=hint, reason="class"
            )
    raise _unknown(text, names, count)


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
    """What is compared: neither case, nor underlines, hyphens and blanks."""
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
