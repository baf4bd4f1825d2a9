"""Images as one array in an ``.npz``, as ADM's evaluator (arXiv:2105.05233) reads samples and reference sets.

A stored member is never loaded: an image is read from its place in the file, so that opening costs nothing
and worker processes share the system's copy. Nothing is unpickled.
Shape letters: N images, H, W sides, F features.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from vqcli import files as disk
from vqcli.data.decode import MAX_PIXELS
from vqcli.data.images.arrays import (
    HEADER_BYTES,
    Array,
    Damaged,
    array_values,
    holds,
    opened,
    printable,
    read_array,
)
from vqcli.data.images.base import Labels, Source, Told
from vqcli.data.images.labels import LabelReader, Written, numbered
from vqcli.data.images.shards import ShardSource
from vqcli.data.location import Location
from vqcli.errors import BadImage, VqcliError
from vqcli.types import ANYHOW, Reading, Sample

IMAGES, LABELS = "arr_0", "arr_1"
STATISTICS = (("mu", "sigma"), ("mu_s", "sigma_s"))
"""Means and covariances of a reference set: of Inception's pooled features, and of its spatial ones."""
RESIZING, NETWORK, COUNT = "resize", "network", "images"
"""How images were resized before these were taken, by which weights, and how many: words of vqcli."""


class NpzSource(ShardSource):
    """``arr_0``, uint8 (N, H, W, 3), with labels in ``arr_1``, numbers or words (N,), if there are any."""

    FORM = "an .npz of images"
    SUFFIX = ".npz"
    IN_FOLDERS = False

    def __init__(
        self, files: Sequence[Location], reading: Reading = ANYHOW, names: Sequence[str] = ()
    ) -> None:
        """Compressed images are read into memory. Raises VqcliError if the file is damaged or holds none.

        ``files`` is one: keys are numbers, which two would share.
        """
        (self.file,), self.reading = files, reading
        with opened(self.file) as archive:
            self._images = _images(archive, self.file, reading.image_column or IMAGES)
            written, remarks = _labels(archive, self.file, reading, len(self))
            self._values = array_values(archive, self._images) if self._images.offset is None else None
        labels, self.classes, remark = numbered(written)
        self._labels = Labels(labels)
        self.told = Told(remarks=(*remarks, remark) if remark else tuple(remarks))

    @classmethod
    def of_files(
        cls, files: Sequence[Location], names: Sequence[str], reading: Reading, text: str, above: str = ""
    ) -> Source:
        if len(files) > 1:
            message = f"{text} names an {cls.SUFFIX} file beside others"
            raise VqcliError(message, hint=f"name one {cls.SUFFIX} file alone", reason="input-mixed")
        return super().of_files(files, names, reading, text, above)

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

    def unlabelled(self) -> int:
        return self._labels.unknown()

    def __getitem__(self, i: int) -> Sample:
        key = self.key(i)
        pixels = self._compressed()[i] if self._images.offset is None else self._stored(int(i), key)
        return Sample(Image.fromarray(pixels), self.label(i), key)

    def _compressed(self) -> np.ndarray:
        """All images (N, H, W, 3): read once in a process, or before it was forked."""
        if self._values is None:
            with opened(self.file) as archive:
                self._values = array_values(archive, self._images)
        return self._values

    def _stored(self, i: int, key: str) -> np.ndarray:
        """Pixels (H, W, 3) at their place in the file; a memory map would kill the process if it were cut."""
        _, *shape = self._images.shape
        size, offset = math.prod(shape), self._images.offset
        assert offset is not None
        try:
            data = self.file.read(offset + i * size, size)
        except OSError as e:
            raise disk.unread(self.file, e) from e
        if len(data) != size:
            raise BadImage(key, "changed", f"{self.file} was cut while it was in use")
        return np.frombuffer(data, np.uint8).reshape(shape)


def read_statistics(place: Location) -> dict[str, np.ndarray]:
    """Those of ``mu``, ``mu_s`` (F,) and ``sigma``, ``sigma_s`` (F, F) that a file holds, float64.

    Images stay unread. Raises VqcliError if the file is damaged, or a mean stands without its covariance.
    """
    with opened(place) as archive:
        mean, spatial = (_statistics(archive, names) for names in STATISTICS)
    return mean | spatial


def read_word(place: Location, name: str) -> str:
    """What a file tells of its statistics, ``RESIZING``, ``NETWORK`` or ``COUNT``; empty where it does not.

    Raises VqcliError if the file is damaged.
    """
    with opened(place) as archive:
        if not holds(archive, name):
            return ""
        array = read_array(archive, name)
        if array.dtype.kind != "U" or array.shape or array.size > HEADER_BYTES:
            raise Damaged(f"{name} is {array.kind}, no word")
        return str(array_values(archive, array))


def _images(archive: zipfile.ZipFile, place: Location, name: str) -> Array:
    """The array of images. Raises VqcliError if there is none of this name that can be used, Damaged."""
    if holds(archive, name):
        array = read_array(archive, name)
        match array.shape:
            case (_, height, width, 3) if array.size and height * width <= MAX_PIXELS:
                if array.dtype == np.uint8 and not array.fortran:
                    return array
        wrong = f"{name} is {array.kind}{', first index fastest' if array.fortran else ''}"
        hint = "images are uint8 (N, H, W, 3): numpy.savez(path, numpy.ascontiguousarray(images))"
    else:
        names = [each.removesuffix(".npy") for each in archive.namelist()]
        wrong = f"no {name}, but {', '.join(names) or 'nothing'}"
        hint = "images are uint8 (N, H, W, 3), in the array arr_0 or the one that --image-column names"
    message = f"{place} holds no images that can be used: {printable(wrong)}"
    raise VqcliError(message, hint=hint, reason="input-empty")


def _labels(
    archive: zipfile.ZipFile, place: Location, reading: Reading, count: int
) -> tuple[list[Written], list[str]]:
    """Labels of ``count`` images as written, and what is to be said. Raises VqcliError, Damaged."""
    name = reading.label_column or LABELS
    if not reading.labels or not (reading.label_column or holds(archive, name)):
        return [None] * count, []
    kind = "not there"
    if holds(archive, name):
        array = read_array(archive, name)
        kind = array.kind
        if array.shape == (count,) and array.dtype.kind in "iubfUS":
            reader = LabelReader()
            return [reader.take(value) for value in array_values(archive, array).tolist()], reader.remarks()
    message = f"{place}: {name} is {kind}, and no label for each of {count} images"
    hint = "--label-column names another array, --no-labels leaves them all unread"
    raise VqcliError(message, hint=hint, reason="labels")


def _statistics(archive: zipfile.ZipFile, names: tuple[str, str]) -> dict[str, np.ndarray]:
    """A mean (F,) and a covariance (F, F), float64, or nothing. Raises Damaged."""
    arrays = [read_array(archive, name) for name in names if holds(archive, name)]
    if not arrays:
        return {}
    kinds = ", ".join(f"{array.name} {array.kind}" for array in arrays)
    features = arrays[0].shape[:1]
    if [array.shape for array in arrays] != [features, 2 * features] or features == (0,):
        raise Damaged(f"{kinds}: no mean (F,) and covariance (F, F)")
    if any(array.dtype.kind != "f" for array in arrays):
        raise Damaged(f"{kinds}: no floating-point numbers")
    found = {array.name: array_values(archive, array).astype(np.float64) for array in arrays}
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise Damaged(f"{name} holds numbers that are not finite")
    return found
