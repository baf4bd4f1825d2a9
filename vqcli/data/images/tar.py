"""WebDataset shards (tar files), read strictly: damaged or cut off is an error, never a shorter epoch.

Members are never extracted: one pass over the headers notes where each image lies.
Format: POSIX.1-2017 pax and ustar, GNU long names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from vqcli.data.images.base import IMAGE_SUFFIXES, Labels, StoredSource
from vqcli.data.images.shards import ANYHOW, Places, ShardSource, unique_keys
from vqcli.data.location import Location
from vqcli.errors import BadImage, VqcliError
from vqcli.types import Reading

BLOCK = 512
REGULAR, NO_DATA = b"\x000\x007", b"123456"
PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK = b"x", b"g", b"L", b"K"
MAX_EXTRA = 1 << 20
"""Bytes that a long name, a pax header or a label may have."""


class _Damaged(Exception):
    """What is wrong with an archive."""


@dataclass(frozen=True)
class Member:
    """A regular file of an archive: its bytes are ``data[offset : offset + size]``."""

    name: str
    offset: int
    size: int


class TarSource(StoredSource, ShardSource):
    """WebDataset shards: images with ``.cls`` or ``.json`` labels beside them."""

    FORM = ".tar shards"
    SUFFIX = ".tar"

    def __init__(self, files: Sequence[Location], reading: Reading = ANYHOW) -> None:
        """Raises VqcliError that names the damaged shard, and how many images before that are good."""
        self.files, self.classes, self.reading = list(files), [], reading
        keys, labels, places = [], [], []
        for file in self.files:
            images, numbers = _index(file)
            keys.append([image.name for image in images])
            labels += numbers
            places.append(np.array([(image.offset, image.size) for image in images], np.int64).reshape(-1, 2))
        if not labels:
            raise VqcliError(
                f"{self.files[0]} holds no images", hint="is it a WebDataset shard?", reason="input-empty"
            )
        self._shards, self._places = Places([len(p) for p in places]), np.concatenate(places)
        self._keys, self._labels = unique_keys(self.files, keys), Labels(labels)

    def __len__(self) -> int:
        return len(self._shards)

    def key(self, i: int) -> str:
        return self._keys[i]

    def label(self, i: int) -> int | None:
        return self._labels[i]

    def read(self, i: int) -> bytes:
        offset, size = map(int, self._places[i])
        try:
            data = self.files[self._shards[i][0]].read(offset, size)
        except OSError as e:
            raise BadImage(self.key(i), "unreadable", str(e)) from e
        if len(data) != size:
            raise BadImage(self.key(i), "changed", "its shard was cut while it was in use")
        return data


def _index(place: Location) -> tuple[list[Member], list[int | None]]:
    """Images of one shard, in order, and their labels. Raises VqcliError."""
    images: dict[str, Member] = {}
    labels: dict[str, int | None] = {}
    try:
        with place.open() as file:
            for member in members(file):
                suffix = PurePosixPath(member.name).suffix.lower()
                if suffix in IMAGE_SUFFIXES:
                    if member.name in images:
                        raise _Damaged(f"two members are called {member.name}")
                    images[member.name] = member
                elif suffix in (".cls", ".json"):
                    label = _label(suffix, _extra(file, member.offset, member.size), member.name)
                    labels.setdefault(member.name[: -len(suffix)], label)
    except _Damaged as e:
        message = f"{place} is damaged after {len(images)} good images: {e}"
        raise VqcliError(message, hint="copy or download the shard again", reason="damaged") from e
    except OSError as e:
        raise VqcliError(
            f"cannot read {place}: {e.strerror}", hint="check the path", reason="input-missing"
        ) from e
    return list(images.values()), [labels.get(_stem(name)) for name in images]


def _stem(name: str) -> str:
    return name.removesuffix(PurePosixPath(name).suffix)


def _label(suffix: str, data: bytes, name: str) -> int | None:
    """The class in a label member; None where a JSON tells none. Raises _Damaged."""
    try:
        if suffix == ".cls":
            label: Any = int(data)
        else:
            fields = json.loads(data)
            label = fields.get("label", fields.get("cls")) if isinstance(fields, dict) else None
            if not isinstance(label, int):
                return None
        if not 0 <= label < 1 << 31:
            raise ValueError(label)
        return label
    except (ValueError, RecursionError) as e:
        raise _Damaged(f"{name} holds no label") from e


def members(file: BinaryIO) -> Iterator[Member]:
    """Regular files of an archive that is open, from its headers. Raises _Damaged unless whole."""
    end, at = file.seek(0, os.SEEK_END), 0
    name, pax_size = "", None
    while True:
        header = _bytes(file, at, BLOCK)
        if len(header) < BLOCK:
            raise _Damaged(
                f"it is cut off at byte {at + len(header)}" if header else "its end marker is missing"
            )
        if not any(header):
            if _bytes(file, at + BLOCK, BLOCK) != header:
                raise _Damaged("its end marker is incomplete")
            return
        _check_sum(header, at)
        kind, size = header[156:157], _number(header[124:136], at)
        if pax_size is not None and kind in REGULAR:
            size = pax_size
        data, at = at + BLOCK, at + BLOCK + (0 if kind in NO_DATA else -(-size // BLOCK) * BLOCK)
        if at > end:
            raise _Damaged(f"it is cut off at byte {end}")
        if kind in (PAX, LONG_NAME):
            extra = _extra(file, data, size)
            pax_name, pax_size = _pax(extra) if kind == PAX else (_text(extra), pax_size)
            name = pax_name or name
        elif kind not in (PAX_GLOBAL, LONG_LINK):
            if kind in REGULAR:
                yield Member(name or _header_name(header), data, size)
            elif kind not in NO_DATA:
                raise _Damaged(f"member type {kind!r} at byte {data - BLOCK} is not supported")
            name, pax_size = "", None


def _check_sum(header: bytes, at: int) -> None:
    """The sum of a header's bytes, its own field taken as blanks; some writers took bytes as signed."""
    rest = header[:148] + b" " * 8 + header[156:]
    expected, total = _number(header[148:156], at), sum(rest)
    if expected != total and expected != total - 256 * sum(byte > 127 for byte in rest):
        raise _Damaged(f"the header at byte {at} fails its checksum")


def _number(field: bytes, at: int) -> int:
    """A header's number: octal text, or binary where the first bit is set (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    else:
        digits = field.split(b"\0")[0].strip()
        value = int(digits or b"0", 8) if all(c in b"01234567" for c in digits) else -1
    if value < 0:
        raise _Damaged(f"the header at byte {at} holds no valid size")
    return value


def _header_name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500])
    return f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "surrogateescape")


def _bytes(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _extra(file: BinaryIO, offset: int, size: int) -> bytes:
    if size > MAX_EXTRA:
        raise _Damaged(f"the member at byte {offset} is {size} bytes long, too long for what it is")
    return _bytes(file, offset, size)


def _pax(data: bytes) -> tuple[str, int | None]:
    """Name and size in a pax header, records ``LENGTH KEY=VALUE\\n``."""
    fields: dict[str, str] = {}
    while data:
        digits = data.split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        key, equals, value = data[len(digits) + 1 : length].partition(b"=")
        if not equals or not value.endswith(b"\n") or length > len(data):
            raise _Damaged("a pax header is malformed")
        fields[_text(key)] = value[:-1].decode("utf-8", "surrogateescape")
        data = data[length:]
    if any(key.startswith("GNU.sparse") for key in fields):
        raise _Damaged("sparse members are not supported")
    size = fields.get("size")
    if size is not None and not (size.isascii() and size.isdigit()):
        raise _Damaged("a pax header is malformed")
    return fields.get("path", ""), None if size is None else int(size)
