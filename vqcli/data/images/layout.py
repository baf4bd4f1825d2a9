"""What folders say of the pictures in them: splits and classes, told by names alone; see docs/data.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf
from posixpath import basename, splitext
from typing import NamedTuple

from vqcli.data.images.splits import split_level

Parts = tuple[str, ...]
SHARD_DIGITS = 5
"""Digits that a downloader's shard folder has at least: img2dataset's 00000, FFHQ's 01000."""
FIRST_FOLDER = "folder"
"""As ``--label-column``: the first folders are classes, whatever they look like."""
TABLE_OF_SHARD = ".parquet"
"""How img2dataset's tables of urls end, which lie beside the shards or folders that have the pictures."""
METADATA = "metadata"
"""What the Hub's tables of fields are called, which lie beside the pictures."""


class Layout(NamedTuple):
    """What folders mean; they are told as ``a/b``, the top one as an empty text."""

    splits: dict[str, str]
    """Folder -> split; one that lies outside of the splits is not among them. Empty where there are none."""
    classes: dict[str, str]
    """Folder -> class, of those that have one."""
    remarks: tuple[str, ...]


def layout(names: Sequence[str], label_column: str | None = None) -> Layout:
    """What the folders of pictures mean, which are named relative to the folder that a user named."""
    folders: dict[str, Parts] = {
        head: tuple(head.split("/")) if head else () for head in {name.rpartition("/")[0] for name in names}
    }
    depth, known = split_level(folders.values())
    splits = {
        head: known[parts[depth]]
        for head, parts in folders.items()
        if parts[depth:] and parts[depth] in known
    }
    below: Mapping[str, Parts] = {head: folders[head][depth + 1 :] for head in splits} or folders
    if label_column == FIRST_FOLDER:
        return Layout(splits, {head: rest[0] for head, rest in below.items() if rest}, ())
    remarks: list[str] = []
    classes = _classes(below, splits, remarks)
    shards = _shards(names, classes)
    if shards:
        told = ", ".join(shards) if len(shards) < 4 else f"{shards[0]} to {shards[-1]}"
        remarks.append(
            f"folders {told} are a downloader's shards, no classes "
            f"(--label-column {FIRST_FOLDER} takes them for classes)"
        )
    return Layout(
        splits, {head: name for head, name in classes.items() if name not in shards}, tuple(remarks)
    )


def _classes(below: Mapping[str, Parts], splits: Mapping[str, str], remarks: list[str]) -> dict[str, str]:
    """The class of every folder that has one: the first folder below its split, and below what all share."""
    below, through = _below_common(below)
    if through:
        remarks.append(f"classes are the folders in {through}")
    classes: dict[str, str] = {}
    for split in sorted(set(splits.values())) or [""]:
        own = {head: rest for head, rest in below.items() if splits.get(head, "") == split}
        others = {rest[0] for head, rest in below.items() if head not in own and rest}
        firsts = {rest[:1] for rest in own.values()}
        if len(firsts) == 1 and () not in firsts and not others & set(min(firsts)):
            within, through = _below_common(own)
            if through:
                remarks.append(f"classes of {split} are the folders in {through}")
                own = dict(within)
            elif len(others) > 1:
                remarks.append(f"folder {min(firsts)[0]} of {split} is no class: no other split has it")
                continue
        classes |= {head: rest[0] for head, rest in own.items() if rest}
    return classes


def _below_common(below: Mapping[str, Parts]) -> tuple[Mapping[str, Parts], str]:
    """What lies below the folder that all are in, and its name, where only further folders lie in it."""
    first, last = min(below.values(), default=()), max(below.values(), default=())
    shared = 0
    while first[shared : shared + 1] == last[shared : shared + 1] != ():
        shared += 1
    if not shared or any(len(rest) == shared for rest in below.values()):
        return below, ""
    return {head: rest[shared:] for head, rest in below.items()}, "/".join(first[:shared])


def _shards(names: Sequence[str], classes: Mapping[str, str]) -> list[str]:
    """Those of the classes that are shards of a downloader, in order.

    They are numbers of ``SHARD_DIGITS`` or more digits, and most pictures in them are called by a longer
    number that begins so (img2dataset), or by one from their folder's on to the next folder's (FFHQ).
    """
    numbers = sorted(
        {name for name in classes.values() if len(name) >= SHARD_DIGITS and name.isascii() and name.isdigit()}
    )
    if len({len(name) for name in numbers}) != 1:
        return []
    starts = list(map(int, numbers))
    last = starts[-1] + max((b - a for a, b in pairwise(starts)), default=inf)
    end: dict[str, float] = dict(zip(numbers, [*starts[1:], last]))
    fit = count = 0
    for name in names:
        head, _, file = name.rpartition("/")
        folder, stem = classes.get(head), file.partition(".")[0]
        if folder in end:
            count += 1
            fit += stem.isascii() and stem.isdigit() and _in_shard(stem, folder, end[folder])
    return numbers if 2 * fit > count else []


def _in_shard(stem: str, folder: str, end: float) -> bool:
    longer = len(stem) > len(folder) and stem.startswith(folder)
    return longer or int(folder) <= int(stem) < end


def beside_others(shards: Sequence[str], pictures: Sequence[str]) -> list[str]:
    """Those of the shards that hold nothing of their own, in order.

    That is one called like a folder of pictures, which it packs, and a table of what pictures or shards hold.
    """
    folders = {tuple(name.split("/")[:-1]) for name in pictures} if shards else set()
    above = {"/".join(parts[:depth]) for parts in folders for depth in range(1, len(parts) + 1)}
    known = Counter(splitext(name)[0] for name in shards)
    found = []
    for name in shards:
        stem, suffix = splitext(name)
        table = known[stem] > 1 or (pictures and basename(stem) == METADATA)
        if stem in above or (suffix == TABLE_OF_SHARD and table):
            found.append(name)
    return found
