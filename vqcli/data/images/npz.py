"""Images as one array in an ``.npz``, as ADM's evaluator (arXiv:2105.05233) reads samples and reference sets.

An ``.npz`` is a zip of ``.npy`` members. A stored member is never loaded: an image is read from its place in
the file, so that opening costs nothing and worker processes share the system's copy. Nothing is unpickled.
Shape letters: N images, H, W sides, F features.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import Image

from vqcli.data.decode import BAD_DATA, MAX_PIXELS
from vqcli.data.images.base import Labels, Source
from vqcli.data.images.shards import ANYHOW, ShardSource
from vqcli.data.location import Location
from vqcli.errors import BadImage, VqcliError
from vqcli.types import Reading, Sample

IMAGES, LABELS = "arr_0", "arr_1"
STATISTICS = (("mu", "sigma"), ("mu_s", "sigma_s"))
"""Means and covariances of a reference set: of Inception's pooled features, and of its spatial ones."""
RESIZING, NETWORK, COUNT = "resize", "network", "images"
"""How images were resized before these were taken, by which weights, and how many: words of vqcli."""
MOST_BYTES = 8 << 30
"""Of an array that must be held in memory: images that are compressed, labels, statistics."""
UNCOMPRESSED = "store images uncompressed (numpy.savez): they are then read one by one"
HEADER_BYTES, CHUNK = 1 << 14, 1 << 20
BAD_ZIP = (*BAD_DATA, zipfile.BadZipFile, lzma.LZMAError, RuntimeError)
"""What zipfile and numpy raise on a file that is not what it should be."""


class _Damaged(Exception):
    """What is wrong with a file."""


@dataclass(frozen=True)
class _Array:
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


class NpzSource(ShardSource):
    """``arr_0``, uint8 (N, H, W, 3), with labels in ``arr_1``, integers (N,), if there are any."""

    FORM = "an .npz of images"
    SUFFIX = ".npz"
    IN_FOLDERS = False

    def __init__(self, files: Sequence[Location], reading: Reading = ANYHOW) -> None:
        """Compressed images are read into memory. Raises VqcliError if the file is damaged or holds none.

        ``files`` is one: keys are numbers, which two would share.
        """
        (self.file,), self.classes, self.reading = files, [], reading
        with _opened(self.file) as archive:
            self._images = _images(archive, self.file)
            self._labels = _labels(archive, len(self))
            self._values = _values(archive, self._images) if self._images.offset is None else None

    @classmethod
    def of_files(cls, files: Sequence[Location], names: Sequence[str], reading: Reading, text: str) -> Source:
        if len(files) > 1:
            message = f"{text} names an {cls.SUFFIX} file beside others"
            raise VqcliError(message, hint=f"name one {cls.SUFFIX} file alone", reason="input-mixed")
        return super().of_files(files, names, reading, text)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_values": None}

    def __len__(self) -> int:
        return self._images.shape[0]

    def key(self, i: int) -> str:
        if not 0 <= i < len(self):
            raise IndexError(i)
        return f"{i:06d}"

    def label(self, i: int) -> int | None:
        return self._labels[i]

    def __getitem__(self, i: int) -> Sample:
        key = self.key(i)
        pixels = self._compressed()[i] if self._images.offset is None else self._stored(int(i), key)
        return Sample(Image.fromarray(pixels), self.label(i), key)

    def _compressed(self) -> np.ndarray:
        """All images (N, H, W, 3): read once in a process, or before it was forked."""
        if self._values is None:
            with _opened(self.file) as archive:
                self._values = _values(archive, self._images)
        return self._values

    def _stored(self, i: int, key: str) -> np.ndarray:
        """Pixels (H, W, 3) at their place in the file; a memory map would kill the process if it were cut."""
        _, *shape = self._images.shape
        size, offset = math.prod(shape), self._images.offset
        assert offset is not None
        try:
            data = self.file.read(offset + i * size, size)
        except OSError as e:
            raise BadImage(key, "unreadable", str(e)) from e
        if len(data) != size:
            raise BadImage(key, "changed", f"{self.file} was cut while it was in use")
        return np.frombuffer(data, np.uint8).reshape(shape)


def read_statistics(place: Location) -> dict[str, np.ndarray]:
    """Those of ``mu``, ``mu_s`` (F,) and ``sigma``, ``sigma_s`` (F, F) that a file holds, float64.

    Images stay unread. Raises VqcliError if the file is damaged, or a mean stands without its covariance.
    """
    with _opened(place) as archive:
        mean, spatial = (_statistics(archive, names) for names in STATISTICS)
    return mean | spatial


def read_word(place: Location, name: str) -> str:
    """What a file tells of its statistics, ``RESIZING``, ``NETWORK`` or ``COUNT``; empty where it does not.

    Raises VqcliError if the file is damaged.
    """
    with _opened(place) as archive:
        if not _holds(archive, name):
            return ""
        array = _array(archive, name)
        if array.dtype.kind != "U" or array.shape or array.size > HEADER_BYTES:
            raise _Damaged(f"{name} is {array.kind}, no word")
        return str(_values(archive, array))


@contextmanager
def _opened(place: Location) -> Iterator[zipfile.ZipFile]:
    """A file's members. Raises VqcliError where it is missing or damaged, in here or while it is used."""
    try:
        with place.open() as file, zipfile.ZipFile(file) as archive:
            yield archive
    except (FileNotFoundError, PermissionError, IsADirectoryError) as e:
        raise VqcliError(
            f"cannot read {place}: {e.strerror}", hint="check the path", reason="input-missing"
        ) from e
    except MemoryError as e:
        raise VqcliError(f"{place} does not fit into memory", hint=UNCOMPRESSED, reason="memory") from e
    except (_Damaged, *BAD_ZIP) as e:
        told = _printable(str(e) or type(e).__name__)
        raise VqcliError(f"{place} is damaged: {told}", hint="make or copy it again", reason="damaged") from e


def _printable(text: str) -> str:
    """The beginning of a text that may repeat what a file says."""
    return "".join(c if c.isprintable() else " " for c in text[:200])


def _holds(archive: zipfile.ZipFile, name: str) -> bool:
    return f"{name}.npy" in archive.namelist()


def _images(archive: zipfile.ZipFile, place: Location) -> _Array:
    """The array of images. Raises VqcliError if there is none that can be used, _Damaged."""
    if _holds(archive, IMAGES):
        array = _array(archive, IMAGES)
        match array.shape:
            case (_, height, width, 3) if array.size and height * width <= MAX_PIXELS:
                if array.dtype == np.uint8 and not array.fortran:
                    return array
        wrong = f"{IMAGES} is {array.kind}{', first index fastest' if array.fortran else ''}"
    else:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        wrong = f"no {IMAGES}, but {', '.join(names) or 'nothing'}"
    message = f"{place} holds no images that can be used: {_printable(wrong)}"
    hint = "images are uint8 (N, H, W, 3): numpy.savez(path, numpy.ascontiguousarray(images))"
    raise VqcliError(message, hint=hint, reason="input-empty")


def _labels(archive: zipfile.ZipFile, count: int) -> Labels:
    """Labels of ``count`` images, -1 where one is unknown. Raises _Damaged."""
    if not _holds(archive, LABELS):
        return Labels([None] * count)
    array = _array(archive, LABELS)
    if array.dtype.kind not in "iu" or array.shape != (count,):
        raise _Damaged(f"{LABELS} is {array.kind}, no whole number for each of {count} images")
    values = _values(archive, array)
    if values.min() < -1 or values.max() >= 1 << 31:
        raise _Damaged(f"{LABELS} holds numbers that are no labels")
    return Labels(values.tolist())


def _statistics(archive: zipfile.ZipFile, names: tuple[str, str]) -> dict[str, np.ndarray]:
    """A mean (F,) and a covariance (F, F), float64, or nothing. Raises _Damaged."""
    arrays = [_array(archive, name) for name in names if _holds(archive, name)]
    if not arrays:
        return {}
    kinds = ", ".join(f"{array.name} {array.kind}" for array in arrays)
    features = arrays[0].shape[:1]
    if [array.shape for array in arrays] != [features, 2 * features] or features == (0,):
        raise _Damaged(f"{kinds}: no mean (F,) and covariance (F, F)")
    if any(array.dtype.kind != "f" for array in arrays):
        raise _Damaged(f"{kinds}: no floating-point numbers")
    found = {array.name: _values(archive, array).astype(np.float64) for array in arrays}
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise _Damaged(f"{name} holds numbers that are not finite")
    return found


def _array(archive: zipfile.ZipFile, name: str) -> _Array:
    """An array of the file from its header, which must tell the member's true size. Raises _Damaged."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        head = io.BytesIO(member.read(HEADER_BYTES))
    shape, fortran, dtype = _header(head, name)
    start = head.tell()
    offset = _place(archive, info) + start if info.compress_type == zipfile.ZIP_STORED else None
    array = _Array(name, shape, dtype, fortran, start, offset)
    if dtype.hasobject:
        raise _Damaged(f"{name} holds Python objects, which are never unpickled")
    if min(shape, default=0) < 0 or start + array.size != info.file_size:
        raise _Damaged(f"{name} is said to be {array.kind}, but has {info.file_size - start} bytes")
    return array


def _header(head: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type at the beginning of an ``.npy``, read up to its values. Raises _Damaged."""
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise _Damaged(f"{name} has the unknown version {version}")
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
        try:
            return read(head)
        except tokenize.TokenError as e:
            raise _Damaged(f"the header of {name} cannot be parsed") from e


def _place(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> int:
    """Where a stored member begins in the file. Raises _Damaged unless all of it is there."""
    file = archive.fp
    assert file is not None
    file.seek(info.header_offset + 26)
    place = info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
    if info.compress_size != info.file_size or place + info.file_size > file.seek(0, os.SEEK_END):
        raise _Damaged(f"{info.filename} is cut off")
    return place


def _values(archive: zipfile.ZipFile, array: _Array) -> np.ndarray:
    """All values of an array, at most ``MOST_BYTES``. Raises _Damaged, VqcliError."""
    if array.size > MOST_BYTES:
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
                raise _Damaged(f"{array.name} is cut off")
            data[at : at + CHUNK] = np.frombuffer(part, np.uint8)
    order = "F" if array.fortran else "C"
    return data.view(array.dtype).reshape(array.shape, order=order)  # type: ignore[call-overload]
