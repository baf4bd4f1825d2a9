"""Which files belong to which split: ``train-00000.parquet``, ``test/...``; told by names alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from vqcli.errors import VqcliError, suggestion

SPLITS = ("train", "validation", "test")
SPELLINGS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
_PREFIX = re.compile(rf"({'|'.join(SPELLINGS)})(?=[-_.\d]|$)")


def split_name(text: str) -> str:
    """The split a user means (``val`` is ``validation``)."""
    return SPELLINGS.get(text, text)


def by_first_folder(names: Sequence[str]) -> list[str] | None:
    """The split of every relative path, if all lie in split folders; a class may be called ``train``."""
    splits = [SPELLINGS.get(name.partition("/")[0]) if "/" in name else None for name in names]
    return None if None in splits else [split for split in splits if split]


def by_file_name(names: Sequence[str]) -> list[str] | None:
    """The split of every path, if all file names start with one."""
    found = [_PREFIX.match(PurePath(name).name) for name in names]
    return None if None in found else [SPELLINGS[match.group(1)] for match in found if match]


def present(splits: Sequence[str] | None) -> tuple[str, ...]:
    """The splits there are, in the usual order."""
    return tuple(s for s in SPLITS if s in set(splits or ()))


def check_split(split: str, known: tuple[str, ...], where: str) -> str:
    """The split's usual name. Raises VqcliError if ``where`` has splits but not this one."""
    if split_name(split) not in known:
        hint = suggestion(split, list(known))
        raise VqcliError(f"{where} has no split '{split}'", hint=hint, reason="input-missing")
    return split_name(split)
