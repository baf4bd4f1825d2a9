"""What folders say of the pictures in them: splits and classes, told by names alone; see docs/data.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from itertools import pairwise
from math import inf
from posixpath import basename, splitext
from typing import NamedTuple

from vqcli.data.images.labels import FOLDER
from vqcli.data.images.splits import Parts, is_split, split_level

SHARD_DIGITS = 5
"""Digits that a downloader's shard folder has at least: img2dataset's 00000, FFHQ's 01000."""
TABLE_OF_SHARD = ".parquet"
"""How img2dataset's tables of urls end, which lie beside the shards or folders that have the pictures."""
UNLABELLED = frozenset({"unlabeled", "unlabelled"})
"""What a folder beside classes is called whose pictures have none."""
METADATA = "metadata"
"""What the Hub's tables of fields are called, which lie beside the pictures."""


class Layout(NamedTuple):
    """What folders mean; they are told as ``a/b``, the top one as an empty text."""

    splits: dict[str, str]
    """Folder -> split; one that lies outside of the splits is not among them. Empty where there are none."""
    classes: dict[str, str]
    """Folder -> class, of those that have one."""
    remarks: tuple[str, ...]


def layout(
    names: Sequence[str], label_column: str | None = None, heads: Collection[str] | None = None
) -> Layout:
    """What the folders of pictures mean, which are named relative to the folder that a user named.

    ``heads`` are these folders, where they are known.
    """
    heads = {name.rpartition("/")[0] for name in names} if heads is None else heads
    folders: dict[str, Parts] = {head: tuple(head.split("/")) if head else () for head in heads}
    shared, depth, known = split_level(folders.values())
    splits = {
        head: known[parts[depth]]
        for head, parts in folders.items()
        if parts[depth:] and parts[depth] in known
    }
    inside: Mapping[str, Parts] = {head: folders[head] for head in splits}
    below = {head: parts[shared:depth] + parts[depth + 1 :] for head, parts in inside.items()} or folders
    if label_column == FOLDER:
        return Layout(splits, {head: rest[0] for head, rest in below.items() if rest}, ())
    remarks: list[str] = []
    classes = _classes(below, splits, remarks)
    shards = _shards(names, classes)
    if shards:
        told = ", ".join(shards) if len(shards) < 4 else f"{shards[0]} to {shards[-1]}"
        remarks.append(
            f"folders {told} are a downloader's shards, no classes "
            f"(--label-column {FOLDER} takes them for classes)"
        )
    return Layout(
        splits, {head: name for head, name in classes.items() if name not in shards}, tuple(remarks)
    )


def _classes(below: Mapping[str, Parts], splits: Mapping[str, str], remarks: list[str]) -> dict[str, str]:
    """The class of every folder that has one: the first folder below its split, and below what all share."""
    groups: dict[str, dict[str, Parts]] = {}
    for head, rest in below.items():
        groups.setdefault(splits.get(head, ""), {})[head] = rest
    through = []
    while (lone := _lone(below)) and any(_only_folders(group) for group in groups.values()):
        through.append(lone)
        below, groups = _inside(below), {split: _inside(group) for split, group in groups.items()}
    remarks += [f"classes are the folders in {'/'.join(through)}"] if through else []
    classes: dict[str, str] = {}
    for split, group in sorted(groups.items()):
        others = [{rest[:1] for rest in other.values()} for name, other in groups.items() if name != split]
        lone, alone = _lone(group), (_lone(group),) not in set().union(*others)
        if lone and alone and _only_folders(group):
            remarks.append(f"classes of {split} are the folders in {lone}")
            group = _inside(group)
        elif lone and _none_of(lone, others):
            remarks.append(f"folder {lone} of {split} is no class: no split with classes has it")
            group = {}
        classes |= {head: rest[0] for head, rest in group.items() if rest}
    for name in sorted(set(classes.values())):
        if name.lower() in UNLABELLED:
            remarks.append(
                f"folder {name} is no class, as its name says (--label-column {FOLDER} takes it for one)"
            )
    classes = {head: name for head, name in classes.items() if name.lower() not in UNLABELLED}
    for name in sorted(filter(is_split, set(classes.values()))):
        remarks.append(f"folder {name} is a class: not all beside it are splits")
    return classes


def _none_of(folder: str, splits: Sequence[Set[Parts]]) -> bool:
    """Whether there are splits with two classes or more, and none of them has this one."""
    known = set().union(*(classes for classes in splits if len(classes) > 1))
    return bool(known) and (folder,) not in known


def _lone(below: Mapping[str, Parts]) -> str:
    """The one folder that all lie in; empty where there is none."""
    firsts = {rest[:1] for rest in below.values()}
    return "".join(*firsts) if len(firsts) == 1 else ""


def _only_folders(below: Mapping[str, Parts]) -> bool:
    """Whether the folder that all lie in has only folders in it, two or more, there or further down."""
    while _lone(below):
        below = _inside(below)
        if len({rest[:1] for rest in below.values()} - {()}) > 1:
            return () not in below.values()
    return False


def _inside(below: Mapping[str, Parts]) -> dict[str, Parts]:
    return {head: rest[1:] for head, rest in below.items()}


def _shards(names: Sequence[str], classes: Mapping[str, str]) -> list[str]:
    """Those of the classes that are shards of a downloader, in order.

    They are numbers of ``SHARD_DIGITS`` or more digits, and most pictures in them are called by a longer
    number that begins so (img2dataset; StyleGAN with ``img`` before it), or by one from their folder's on to
    the next folder's (FFHQ).
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
        folder, stem = classes.get(head), file.partition(".")[0].removeprefix("img")
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
