"""Which files belong to which split: ``train-00000.parquet``, ``test/...``; told by names alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePath
from typing import NamedTuple

from vqcli.errors import VqcliError, suggestion

Parts = tuple[str, ...]
"""Names of folders, the outermost first."""
SPLITS = ("train", "validation", "test")
SPELLINGS = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
"""As the Hub takes them, in any case."""
_WORD = "|".join(SPELLINGS)
_ALONE = re.compile(rf"({_WORD})(?:[-_. ]?(?:\d+|images?|imgs?|set|data))?", re.IGNORECASE)
"""A whole name: ``Train``, ``val2017``, ``test_images``."""
_AMONG = re.compile(rf"(?:^|[-_. \d])({_WORD})(?=[-_. \d]|$)", re.IGNORECASE)
"""A word of a name: ``ILSVRC2012_img_val``, ``cifar10-train-0000.tar``."""


def is_split(folder: str) -> bool:
    """Whether a folder of this name may be a split."""
    return _ALONE.fullmatch(folder) is not None


def split_name(text: str) -> str:
    """The split a user means (``val`` is ``validation``)."""
    found = _ALONE.fullmatch(text)
    return SPELLINGS[found[1].lower()] if found else text


class Level(NamedTuple):
    """Where split folders lie."""

    shared: int
    """Folders above that all files are in."""
    depth: int
    """Folders above the split folders: those that all share, and perhaps one of each class."""
    splits: dict[str, str]
    """Name of a split folder -> split; empty where there are none."""


def split_level(folders: Collection[Parts]) -> Level:
    """Where the split folders lie, below what all files share, or in every folder below that.

    Folders are splits where all at a level are, or two different splits are among them. A class may be called
    ``train``. Names with other words in them are splits where all are, or ``train`` and another have the same
    others: ``seg_train``, ``seg_test`` beside ``seg_pred``.
    """
    shared = 0
    while True:
        firsts = {parts[shared : shared + 1] for parts in folders}
        splits = _splits_of(set().union(*firsts), closed=() not in firsts)
        if splits:
            return Level(shared, shared, splits)
        if len(firsts) != 1 or () in firsts:
            return Level(shared, shared + 1, _in_each(folders, shared))
        shared += 1


def _in_each(folders: Collection[Parts], depth: int) -> dict[str, str]:
    """The split folders in those at a depth, if every one of these has some, and there are two splits."""
    inside: dict[Parts, set[Parts]] = {parts[: depth + 1]: set() for parts in folders}
    for parts in folders:
        inside[parts[: depth + 1]].add(parts[depth + 1 : depth + 2])
    found = [_splits_of(set().union(*names), closed=() not in names) for names in inside.values()]
    splits = {name: split for each in found for name, split in each.items()}
    return splits if all(found) and len(set(splits.values())) > 1 else {}


def by_first_folder(names: Sequence[str]) -> list[str | None] | None:
    """The split of every path, if they lie in split folders; None for one that lies outside.

    What is above a path from the root is a user's own: one folder ``/data/test`` alone is no split.
    """
    folders = [tuple(name.split("/")[:-1]) for name in names]
    _, depth, splits = split_level(set(folders))
    if not splits or (names[0].startswith("/") and len(set(splits.values())) == 1):
        return None
    return [splits.get(parts[depth]) if parts[depth:] else None for parts in folders]


def by_file_name(names: Sequence[str]) -> list[str | None] | None:
    """The split of every path, if all file names have one among their words, or ``train`` and another do.

    None for one that has none, such as ``extra-00000.parquet``.
    """
    found = _in_words([PurePath(name).name for name in names])
    known = set(found) - {None}
    return found if None not in found or ("train" in known and len(known) > 1) else None


def _splits_of(names: Collection[str], *, closed: bool) -> dict[str, str]:
    """Those of the folders at a level that are splits; ``closed`` if nothing else lies there."""
    whole = {name: split_name(name) for name in names if is_split(name)}
    if len(set(whole.values())) > 1 or (closed and len(whole) == len(names)):
        return whole
    words = {name: split for name, split in zip(names, _in_words(names)) if split}
    if closed and len(words) == len(names) and len(set(words.values())) > 1:
        return words
    alike: dict[str, dict[str, str]] = {}
    for name, split in words.items():
        alike.setdefault(_AMONG.sub("", name, count=1), {})[name] = split
    return next(
        (each for each in alike.values() if "train" in each.values() and len(set(each.values())) > 1), {}
    )


def _in_words(names: Iterable[str]) -> list[str | None]:
    return [SPELLINGS[found[1].lower()] if (found := _AMONG.search(name)) else None for name in names]


def present(splits: Iterable[str | None] | None) -> tuple[str, ...]:
    """The splits there are, in the usual order."""
    return tuple(s for s in SPLITS if s in set(splits or ()))


def check_split(split: str, known: tuple[str, ...], where: str) -> str:
    """The split's usual name. Raises VqcliError if ``where`` has splits but not this one."""
    if split_name(split) not in known:
        there = f"it has: {', '.join(known)}"
        near = suggestion(split, list(known))
        hint = f"{near} {there}" if near.endswith("?") else there
        raise VqcliError(f"{where} has no split '{split}'", hint=hint, reason="input-missing")
    return split_name(split)
