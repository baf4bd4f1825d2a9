"""Files that are something else than their names say: what they are, and what to do."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from vqcli import files
from vqcli.data.decoding.foreign import no_image, told_format, unread_image
from vqcli.data.location import Location
from vqcli.errors import VqcliError

BEGINNING = 16
"""Bytes that tell what a file is that should be a shard."""
HEAD = 4096
"""Bytes that tell what a file is of which nothing is known."""


class _Kind(NamedTuple):
    what: str
    hint: str
    """``FILE`` is the file, as a shell takes it."""


_PACKED = "mv FILE FILE{0} && {1} FILE{0}"
KINDS = {
    b"\x1f\x8b": _Kind("compressed by gzip", _PACKED.format(".gz", "gunzip")),
    b"BZh": _Kind("compressed by bzip2", _PACKED.format(".bz2", "bunzip2")),
    b"\xfd7zXZ\0": _Kind("compressed by xz", _PACKED.format(".xz", "unxz")),
    b"\x28\xb5\x2f\xfd": _Kind("compressed by zstd", _PACKED.format(".zst", "unzstd --rm")),
    b"PK\3\4": _Kind("a zip file", "unzip FILE -d pictures"),
    b"7z\xbc\xaf\x27\x1c": _Kind("a 7z file", "unpack it into a folder, and name that"),
    b"Rar!": _Kind("a RAR file", "unpack it into a folder, and name that"),
    b"PAR1": _Kind("a Parquet file", "give it the ending .parquet"),
    b"PARE": _Kind("an encrypted Parquet file", "write it again without encryption"),
    b"ARROW1": _Kind("an Arrow file", "pyarrow.parquet.write_table writes its table as Parquet"),
    b"version https://": _Kind("a pointer of Git LFS", "git lfs pull fetches the file itself"),
    b"<!DOCTYPE": _Kind("a web page", "download the file itself: the server sent a page"),
    b"<html": _Kind("a web page", "download the file itself: the server sent a page"),
}
"""What such files begin with."""


def check_image(place: Location) -> None:
    """Raises VqcliError where a file that no source claims is known by its bytes."""
    try:
        data = place.read(0, HEAD)
    except OSError as e:
        raise files.unread(place, e) from e
    if kind := told_format(data):
        hint = f"give it the ending .{kind.lower()}, or name it in a list"
        raise VqcliError(
            f"{place} is a picture ({kind}) whose name does not end so", hint=hint, reason="format"
        )
    if unread := unread_image(data):
        what, _, hint = unread.partition("; ")
        raise VqcliError(f"{place} is not read: {what}", hint=hint, reason="format")
    check_kind(place, data, "an image")
    if other := no_image(data):
        what, _, hint = other.partition(": ")
        raise VqcliError(f"{place} is {what}, no image", hint=hint, reason="format")


def check_kind(place: Location, beginning: bytes, wanted: str) -> None:
    """Raises VqcliError where a file begins like one of another kind than ``wanted``, told as ``a tar``."""
    for mark, kind in KINDS.items():
        if beginning.startswith(mark):
            hint = kind.hint.replace("FILE", shlex.quote(str(place)))
            raise VqcliError(f"{place} is not {wanted}, but {kind.what}", hint=hint, reason="format")
