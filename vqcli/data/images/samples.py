"""WebDataset's samples: what one pass over a shard finds of them, and which of their pictures are read.

A sample is all members of a shard whose names agree up to the first dot of the base name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from sys import intern
from typing import BinaryIO, NamedTuple

from vqcli import bounds
from vqcli.data.images.archive import Kind, Member, members, read_at, resolved
from vqcli.data.images.base import IMAGE_SUFFIXES
from vqcli.data.images.fields import LABEL_NAMES, field_of, parsed
from vqcli.data.images.labels import LabelReader, Written
from vqcli.data.location import Location
from vqcli.errors import VqcliError
from vqcli.types import Reading

LABEL_ENDINGS = ("cls", "class", "label")
"""Of members that hold a label and nothing else."""
LEFT_OUT: dict[Kind, str] = {
    "device": "device",
    "sparse": "sparse member",
    "other": "member of a kind that is not read",
}
SHOWN = 4
"""Endings that a sentence names."""
_HIDDEN = re.compile(r"(?:^|/)(?:\.(?!\.?(?:/|$))|__MACOSX/|PaxHeaders?(?:\.\d+)?/)")


class Picture(NamedTuple):
    """A picture of a sample: its bytes are ``data[offset : offset + size]`` of its shard."""

    shard: int
    name: str
    ending: str
    offset: int
    size: int

    @property
    def sample(self) -> str:
        """Its name without all endings: what its sample's members share."""
        return self.name[: self.name.find(".", self.name.rfind("/") + 1)]

    @property
    def stem(self) -> str:
        """Its name without the last ending."""
        return self.name.rpartition(".")[0]


class Place(NamedTuple):
    """Where a text lies in a shard."""

    offset: int
    size: int


class Shard:
    """What lies in a shard, found without reading its pictures."""

    def __init__(self, number: int, place: Location, reading: Reading, labels: LabelReader) -> None:
        self.number, self.place, self.reading, self._reader = number, place, reading, labels
        self.pictures: dict[str, Picture] = {}
        self.labels: dict[str, Written] = {}
        """Name of a sample, or of a picture without its ending -> its label, where one is written."""
        self.texts: dict[str, Place] = {}
        """The same -> where its ``.txt`` lies, if that is to be kept."""
        self.jsons: dict[str, Place] = {}
        self.left_out: Counter[str] = Counter()
        self.fields: dict[str, None] = {}
        """Endings of members, and fields of their JSON, that could be a label."""
        column = (reading.label_column or "").removeprefix(".")
        self._endings = {column.lower()} if column else set(LABEL_ENDINGS)
        self._names = (column,) if column else LABEL_NAMES
        self._marks = () if column else tuple(f'"{name}"'.encode() for name in LABEL_NAMES)

    def fill(self, file: BinaryIO) -> None:
        """Take in all members of a file. Raises Damaged; VqcliError where two have one name."""
        links = []
        for member in members(file):
            if member.kind == "file":
                self._take(file, member)
            elif member.kind in ("link", "symlink"):
                links.append(member)
            elif member.kind != "folder":
                self.left_out[LEFT_OUT[member.kind]] += 1
        if links:
            files = {member.name: member for member in members(file) if member.kind == "file"}
            for _, target in resolved(links, files):
                if target:
                    self._take(file, target)
                else:
                    self.left_out["link to nothing"] += 1

    def label(self, picture: Picture) -> Written:
        """The label beside a picture, or of its sample."""
        return self.labels.get(picture.stem, self.labels.get(picture.sample))

    def _take(self, file: BinaryIO, member: Member) -> None:
        name = member.name
        if _HIDDEN.search(name):
            self.left_out["hidden"] += 1
            return
        base = name.rfind("/") + 1
        first, last = name.find(".", base), name.rfind(".")
        if first < 0:
            self.left_out["no ending"] += 1
        elif (suffix := name[last:].lower()) in IMAGE_SUFFIXES:
            ending = suffix[1:] if first == last else name[first + 1 :].lower()
            if name in self.pictures:
                message = f"{self.place} has two members called {name}"
                hint = "pack it again, every picture under a name of its own"
                raise VqcliError(message, hint=hint, reason="input-duplicate")
            self.pictures[name] = Picture(self.number, name, intern(ending), member.offset, member.size)
        else:
            self._take_text(file, member, first, last)

    def _take_text(self, file: BinaryIO, member: Member, first: int, last: int) -> None:
        """A member that is no picture, with the places of the first and the last dot in its base name."""
        name, place = member.name, Place(member.offset, member.size)
        ending, suffix = name[first + 1 :].lower(), name[last:].lower()
        keep, labels = self.reading.keep, self.reading.labels
        if suffix == ".json":
            if keep:
                self.jsons[name[:last]] = place
            if labels:
                self._take_fields(name[:last], read_at(file, *place) if member.size <= bounds.EXTRA else b"")
        elif labels and {ending, suffix[1:]} & self._endings:
            sample = name[:first] if ending in self._endings else name[:last]
            self.labels[sample] = self._reader.take_text(read_at(file, member.offset, min(member.size, 4096)))
        elif suffix == ".txt" and "caption" in keep:
            self.texts[name[:last]] = place
        elif suffix[1:] not in LABEL_ENDINGS:
            self.fields[ending] = None
            self.left_out[suffix] += 1

    def _take_fields(self, sample: str, data: bytes) -> None:
        """The label in a JSON, unless a member of its own holds it."""
        if self._marks and b"\0" not in data and not any(mark in data for mark in self._marks):
            return
        fields = parsed(data)
        if not fields:
            self._reader.refuse(data)
        self.fields |= dict.fromkeys(fields)
        found = (field_of(fields, name) for name in self._names)
        label = next((value for value in found if value is not None), None)
        if label is not None:
            self.labels.setdefault(sample, self._reader.take(label))


class Choice(NamedTuple):
    """Which pictures are read."""

    pictures: list[Picture]
    left_out: Counter[str]
    remarks: list[str]


def chosen(pictures: Sequence[Picture], wanted: str | None) -> Choice:
    """The pictures that ``wanted`` names by their ending (``left.png``, ``left``), else a sample's own.

    Where a sample holds ``KEY.jpg`` beside ``KEY.seg.png``, no ``.seg.png`` is read. Raises VqcliError where
    none is what was wanted.
    """
    if wanted:
        return _wanted(pictures, wanted.removeprefix(".").lower())
    samples = Counter((picture.shard, picture.sample) for picture in pictures)
    if len(samples) == len(pictures):
        return Choice(list(pictures), Counter(), [])
    plain = {(picture.shard, picture.sample) for picture in pictures if "." not in picture.ending}
    beside = {p.ending for p in pictures if "." in p.ending and (p.shard, p.sample) in plain}
    found = _divided(pictures, {p.ending for p in pictures} - beside)
    if beside:
        some = f"samples hold several pictures ({_shown(pictures)}), read: {_shown(found.pictures)}"
        found.remarks.append(f"{some}; --image-column {_most(beside, pictures)} chooses another")
    again = Counter((picture.shard, picture.sample) for picture in found.pictures)
    if len(again) < len(found.pictures):
        several = [p for p in found.pictures if again[p.shard, p.sample] > 1]
        some = f"samples hold several pictures ({_shown(several)}): all of them are read"
        found.remarks.append(f"{some}; --image-column {several[0].ending} chooses")
    return found


def _wanted(pictures: Sequence[Picture], wanted: str) -> Choice:
    endings = {picture.ending for picture in pictures}
    fitting = {e for e in endings if wanted in (e, e.rpartition(".")[0])}
    if not fitting:
        message = f"no picture is called {wanted}, but {_shown(pictures)}"
        raise VqcliError(message, hint="--image-column takes an ending: left.png", reason="input-missing")
    return _divided(pictures, fitting)


def _divided(pictures: Sequence[Picture], endings: set[str]) -> Choice:
    left_out = Counter(f".{p.ending}" for p in pictures if p.ending not in endings)
    if len(left_out) > 2 * SHOWN:
        left_out = Counter(f".{p.ending.rpartition('.')[2]}" for p in pictures if p.ending not in endings)
    return Choice([p for p in pictures if p.ending in endings], left_out, [])


def _shown(pictures: Sequence[Picture]) -> str:
    """The endings of pictures, most first."""
    endings = [ending for ending, _ in Counter(picture.ending for picture in pictures).most_common()]
    return ", ".join(endings[:SHOWN]) + (", ..." if len(endings) > SHOWN else "")


def _most(endings: set[str], pictures: Sequence[Picture]) -> str:
    return Counter(p.ending for p in pictures if p.ending in endings).most_common(1)[0][0]
