"""Which files belong to which split: ``train-00000.parquet``, ``test/...``; told by names alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePath

from vqcli.errors import VqcliError

SPLITS = ("train", "validation", "test")
SPELLINGS = {
    "train": "train",
    "training": "train",
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


def split_name(text: str) -> str:
    """The split a user means (``val`` is ``validation``)."""
    found = _ALONE.fullmatch(text)
    return SPELLINGS[found[1].lower()] if found else text


def split_level(folders: Collection[tuple[str, ...]]) -> tuple[int, dict[str, str]]:
    """How deep below a common folder the split folders lie, and the split of each; none where there are none.

    Folders are splits where all at a level are, or two different splits are among them. A class may be called
    ``train``.
    """
    depth = 0
    while True:
        firsts = {parts[depth : depth + 1] for parts in folders}
        splits = _splits_of({name for first in firsts for name in first}, closed=() not in firsts)
        if splits or len(firsts) != 1 or () in firsts:
            return depth, splits
        depth += 1


def by_first_folder(names: Sequence[str]) -> list[str | None] | None:
    """The split of every relative path, if they lie in split folders; None for one that lies outside."""
    folders = [tuple(name.split("/")[:-1]) for name in names]
    depth, splits = split_level(set(folders))
    if not splits or any(name.startswith("/") for name in names):
        return None
    return [splits.get(parts[depth]) if parts[depth:] else None for parts in folders]


def by_file_name(names: Sequence[str]) -> list[str | None] | None:
    """The split of every path, if all file names have one among their words."""
    found = _in_words([PurePath(name).name for name in names])
    return None if None in found else found


def _splits_of(names: Collection[str], *, closed: bool) -> dict[str, str]:
    """Those of the folders at a level that are splits; ``closed`` if nothing else lies there."""
    whole = {name: split_name(name) for name in names if _ALONE.fullmatch(name)}
    if len(set(whole.values())) > 1 or (closed and len(whole) == len(names)):
        return whole
    words = {name: split for name, split in zip(names, _in_words(names)) if split}
    return words if closed and len(words) == len(names) and len(set(words.values())) > 1 else {}


def _in_words(names: Iterable[str]) -> list[str | None]:
    return [SPELLINGS[found[1].lower()] if (found := _AMONG.search(name)) else None for name in names]


def present(splits: Iterable[str | None] | None) -> tuple[str, ...]:
    """The splits there are, in the usual order."""
    return tuple(s for s in SPLITS if s in set(splits or ()))


def check_split(split: str, known: tuple[str, ...], where: str) -> str:
    """The split's usual name. Raises VqcliError if ``where`` has splits but not this one."""
    if split_name(split) not in known:
        hint = f"it has: {', '.join(known)}"
        raise VqcliError(f"{where} has no split '{split}'", hint=hint, reason="input-missing")
    return split_name(split)
