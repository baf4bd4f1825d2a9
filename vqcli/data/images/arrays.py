"""Arrays in an ``.npz``, which is a zip of ``.npy`` members: what they are, where they lie, their values.

A stored member is never loaded to know it. Nothing is unpickled.
"""

from __future__ import annotations

import io
import lzma
import math
import os
import struct
import tokenize
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np

from vqcli import bounds, files
from vqcli.data.decode import BAD_DATA
from vqcli.data.location import Location
from vqcli.errors import VqcliError

UNCOMPRESSED = "store images uncompressed (numpy.savez): they are then read one by one"
HEADER_BYTES, CHUNK = 1 << 14, 1 << 20
BAD_ZIP = (*BAD_DATA, zipfile.BadZipFile, lzma.LZMAError, RuntimeError)
"""What zipfile and numpy raise on a file that is not what it should be."""


class Damaged(Exception):
    """What is wrong with a file."""


class _Objects(Exception):
    """Name of an array of Python objects."""


@dataclass(frozen=True)
class Array:
    """What is known of an array without its values."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    """Whether the first index varies fastest."""
    start: int
    """Bytes of its header."""
    offset: int | None
    """Where its values lie in the file; None where they are compressed."""

    @property
    def kind(self) -> str:
        """Its type and shape, for sentences."""
        return f"{self.dtype} {self.shape}"

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def opened(place: Location) -> Iterator[zipfile.ZipFile]:
    """A file's members. Raises VqcliError where it is missing or damaged, in here or while it is used."""
    try:
        with (
            place.open() as file,
            files.within(place, place.size(), UNCOMPRESSED),
            zipfile.ZipFile(file) as archive,
        ):
            yield archive
    except _Objects as e:
        message = f"{place}: {e} holds Python objects, which are never unpickled"
        raise VqcliError(message, hint="save numbers or text: array.astype(str)", reason="unsafe") from e
    except (Damaged, *BAD_ZIP) as e:
        if refused := files.os_error(e):  # zipfile makes a bad file of it
            raise files.unread(place, refused) from e
        told = printable(str(e) or type(e).__name__)
        raise VqcliError(f"{place} is damaged: {told}", hint="make or copy it again", reason="damaged") from e


def printable(text: str) -> str:
    """The beginning of a text that may repeat what a file says."""
    return "".join(c if c.isprintable() else " " for c in text[:200])


def holds(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a file has an array of this name."""
    return f"{name}.npy" in archive.namelist()


def read_array(archive: zipfile.ZipFile, name: str) -> Array:
    """An array of the file from its header, which must tell the member's true size. Raises Damaged."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        head = io.BytesIO(member.read(HEADER_BYTES))
    shape, fortran, dtype = _header(head, name)
    start = head.tell()
    offset = _place(archive, info) + start if info.compress_type == zipfile.ZIP_STORED else None
    array = Array(name, shape, dtype, fortran, start, offset)
    if dtype.hasobject:
        raise _Objects(name)
    if min(shape, default=0) < 0 or start + array.size != info.file_size:
        raise Damaged(f"{name} is said to be {array.kind}, but has {info.file_size - start} bytes")
    return array


def _header(head: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type at the beginning of an ``.npy``, read up to its values. Raises Damaged."""
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise Damaged(f"{name} has the unknown version {version}")
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
        try:
            return read(head)
        except tokenize.TokenError as e:
            raise Damaged(f"the header of {name} cannot be parsed") from e


def _place(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Where a stored member begins in the file. Raises Damaged unless all of it is there."""
    file = archive.fp
    assert file is not None
    file.seek(info.header_offset + 26)
    place = info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
    if info.compress_size != info.file_size or place + info.file_size > file.seek(0, os.SEEK_END):
        raise Damaged(f"{info.filename} is cut off")
    return place


def array_values(archive: zipfile.ZipFile, array: Array) -> np.ndarray:
    """All values of an array, as many as its file may take. Raises Damaged, VqcliError."""
    if array.size > bounds.allowed(archive.start_dir):  # about the file's size; compressed, it can be more
        raise VqcliError(
            f"{array.name} of {archive.filename} would take {array.size / 2**30:.1f} GiB of memory",
            hint=UNCOMPRESSED,
            reason="memory",
        )
    data = np.empty(array.size, np.uint8)
    with archive.open(f"{array.name}.npy") as member:
        member.read(array.start)
        for at in range(0, array.size, CHUNK):
            part = member.read(min(CHUNK, array.size - at))
            if len(part) != min(CHUNK, array.size - at):
                raise Damaged(f"{array.name} is cut off")
            data[at : at + CHUNK] = np.frombuffer(part, np.uint8)
    order = "F" if array.fortran else "C"
    return data.view(array.dtype).reshape(array.shape, order=order)  # type: ignore[call-overload]
