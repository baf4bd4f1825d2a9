"""WebDataset shards (tar files), read strictly: damaged or cut off is an error, never a shorter epoch.

Members are never extracted: one pass over the headers notes where each image lies.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from vqcli import bounds
from vqcli import files as disk
from vqcli.data.images.archive import Damaged
from vqcli.data.images.base import Labels, Source, StoredSource, Told
from vqcli.data.images.fields import kept, parsed
from vqcli.data.images.labels import FOLDER, LabelReader, Written, numbered
from vqcli.data.images.misnamed import BEGINNING, check_kind
from vqcli.data.images.samples import Picture, Place, Shard, chosen
from vqcli.data.images.shards import ShardSource, folder_of, offered, shard_names
from vqcli.data.location import Location, location
from vqcli.data.strings import Names
from vqcli.errors import BadImage, VqcliError
from vqcli.types import ANYHOW, Reading

COMPRESSED = {
    ".tar.gz": "gunzip",
    ".tgz": "gunzip",
    ".tbz2": "bunzip2",
    ".txz": "unxz",
    ".tar.bz2": "bunzip2",
    ".tar.xz": "unxz",
    ".tar.zst": "unzstd",
}
"""How names of compressed archives end, and what unpacks them."""


class TarSource(StoredSource, ShardSource):
    """WebDataset shards: pictures, with a label in the ``.cls`` or ``.json`` of their sample."""

    FORM = ".tar shards"
    SUFFIX = ".tar"

    def __init__(
        self, files: Sequence[Location], reading: Reading = ANYHOW, names: Sequence[str] = ()
    ) -> None:
        """Raises VqcliError that names the damaged shard, and how many images before that are good."""
        self.files, self.reading, reader = list(files), reading, LabelReader()
        names = names or shard_names([PurePath(str(file)).name for file in files])
        shards = [_indexed(Shard(i, file, reading, reader)) for i, file in enumerate(files)]
        left_out = sum((shard.left_out for shard in shards), Counter[str]())
        choice = chosen([p for shard in shards for p in shard.pictures.values()], reading.image_column)
        pictures, left_out = choice.pictures, left_out + choice.left_out
        if not pictures:
            message = f"{self.files[0]} holds no images{_but(left_out)}"
            raise VqcliError(message, hint="is it a WebDataset shard?", reason="input-empty")
        written = _labels(pictures, shards, reading)
        labels, self.classes, remark = numbered(written)
        self._labels = Labels(labels)
        remarks = [*choice.remarks, *reader.remarks(), *_about(pictures, written, reading, remark)]
        if left_out["sparse member"]:
            remarks.append("sparse members are not read: tar without --sparse packs them whole")
        self.told = Told(dict(left_out), tuple(remarks))
        self._keys = Names(f"{names[picture.shard]}/{picture.name}" for picture in pictures)
        self._shards = np.array([picture.shard for picture in pictures], np.int32)
        self._places = _array(Place(picture.offset, picture.size) for picture in pictures)
        self._texts = self._jsons = _array([])
        if reading.keep:
            self._texts, self._jsons = _beside(pictures, shards)

    @classmethod
    def claims(cls, text: str) -> bool:
        return super().claims(text) or (_unpacker(text) is not None and location(text).holds_file())

    @classmethod
    def open(cls, text: str, reading: Reading) -> Source:
        unpacker = _unpacker(text)
        if unpacker:
            message = f"{text} is compressed: pictures in the midst of it cannot be read"
            hint = f"{unpacker} {shlex.quote(text)} leaves a .tar"
            raise VqcliError(message, hint=hint, reason="format")
        return super().open(text, reading)

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, i: int) -> str:
        return self._keys[i]

    def label(self, i: int) -> int | None:
        return self._labels[i]

    def unlabelled(self) -> int:
        return self._labels.unknown()

    def extras(self, i: int) -> dict[str, Any]:
        if not self.reading.keep:
            return {}
        fields = parsed(self._bytes(i, self._jsons))
        if caption := self._bytes(i, self._texts).decode("utf-8-sig", "replace").strip():
            fields["caption"] = caption
        return kept(fields, self.reading.keep)

    def read(self, i: int) -> bytes:
        return self._bytes(i, self._places)

    def _bytes(self, i: int, places: np.ndarray) -> bytes:
        offset, size = map(int, places[i])
        if size < 0:
            return b""
        if size > bounds.IMAGE:
            raise BadImage(self.key(i), "file-too-large", f"{size} bytes")
        try:
            data = self.files[self._shards[i]].read(offset, size)
        except OSError as e:
            raise disk.unread(self.files[self._shards[i]], e) from e
        if len(data) != size:
            raise BadImage(self.key(i), "changed", "its shard was cut while it was in use")
        return data


def _indexed(shard: Shard) -> Shard:
    """The shard, with all that lies in its file. Raises VqcliError."""
    place = shard.place
    try:
        with place.open() as file:
            check_kind(place, file.read(BEGINNING), "a tar")
            shard.fill(file)
    except Damaged as e:
        message = f"{place} is damaged after {len(shard.pictures)} good images: {e}"
        hint = "copy or download the shard again"
        if e.unended:
            append = f"head -c 1024 /dev/zero >> {shlex.quote(str(place))}"
            hint += f"; if it is whole, and its writer left the end marker out: {append}"
        raise VqcliError(message, hint=hint, reason="damaged") from e
    except OSError as e:
        raise disk.unread(place, e) from e
    return shard


def _labels(pictures: Sequence[Picture], shards: Sequence[Shard], reading: Reading) -> list[Written]:
    """The label of every picture as it is written. Raises VqcliError where the column is nowhere."""
    if not reading.labels:
        return [None] * len(pictures)
    if reading.label_column == FOLDER:
        return [folder_of(picture.name) for picture in pictures]
    if reading.label_column and not any(shard.labels for shard in shards):
        fields = ", ".join(dict.fromkeys(name for shard in shards for name in shard.fields))
        message = f"no picture has a member or a JSON field {reading.label_column} beside it"
        hint = f"there are: {fields}" if fields else f"--label-column {FOLDER} takes the folder it lies in"
        raise VqcliError(message, hint=hint, reason="input-missing")
    return [shards[picture.shard].label(picture) for picture in pictures]


def _about(pictures: list[Picture], written: list[Written], reading: Reading, remark: str) -> Iterable[str]:
    """What is to be said of labels."""
    if remark:
        yield remark
    if reading.labels and all(label is None for label in written):
        yield from offered(picture.name for picture in pictures)


def _beside(pictures: Sequence[Picture], shards: Sequence[Shard]) -> tuple[np.ndarray, np.ndarray]:
    """Where the text and the JSON of every picture lie; -1 where it has none."""
    nowhere = Place(-1, -1)
    texts, jsons = (
        _array(held[p.shard].get(p.stem) or held[p.shard].get(p.sample, nowhere) for p in pictures)
        for held in ([shard.texts for shard in shards], [shard.jsons for shard in shards])
    )
    return texts, jsons


def _array(places: Iterable[Place]) -> np.ndarray:
    """(N, 2), int64: offsets and sizes."""
    return np.array(list(places), np.int64).reshape(-1, 2)


def _but(left_out: Counter[str]) -> str:
    return f", but {', '.join(f'{count:,} {kind}' for kind, count in left_out.items())}" if left_out else ""


def _unpacker(text: str) -> str | None:
    name = text.lower()
    return next((command for ending, command in COMPRESSED.items() if name.endswith(ending)), None)
