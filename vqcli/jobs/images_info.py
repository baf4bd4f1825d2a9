"""What a user's images are: formats, sizes, classes and splits, without a model."""

from __future__ import annotations

import io
import statistics
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from vqcli import files
from vqcli.checkpoint.told import Row, classes
from vqcli.data.classes import readable
from vqcli.data.images.base import Source, StoredSource, Unlabelled
from vqcli.data.images.open import open_source, open_split
from vqcli.data.location import Location
from vqcli.errors import BadImage
from vqcli.types import Progress, Reading, silent

LOOKED_AT = 1000
"""Images at most whose headers are read, from all over the set."""
TURNED = range(5, 9)
"""EXIF orientations that swap the sides."""


@dataclass(frozen=True)
class Sizes:
    """Sides of images, in pixels, as they are shown."""

    looked_at: int
    """Images whose headers were read; the numbers are of these."""
    smallest: tuple[int, int]
    """(height, width) of the one with the fewest pixels."""
    median: tuple[int, int]
    """Medians of heights and of widths."""
    largest: tuple[int, int]
    shapes: int
    """Different ones."""
    unreadable: list[str]
    """Keys of those without a header that can be read."""


@dataclass(frozen=True)
class ImagesInfo:
    """Images in numbers."""

    source: str
    """As they were named."""
    images: int
    formats: dict[str, int]
    """Endings of names, most first; of images without one the formats of those that were looked at."""
    sizes: Sizes | None
    """None where none could be read."""
    classes: dict[str, int]
    """Images of each class by name, or else by number."""
    unlabelled: int
    splits: dict[str, int]
    """Images of each split; empty where there are none."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What lies there and is not read, counted by kind."""
    remarks: tuple[str, ...] = ()
    """A sentence for each choice where two readings were possible."""
    kind: str = "images"

    def rows(self) -> list[Row]:
        """What a table for people says, line by line."""
        out = f"{sum(self.left_out.values()):,} files: " + _listed(self.left_out)
        return [
            ("images", f"{self.images:,} of {self.source}"),
            ("formats", _listed(self.formats)),
            *([("sizes", _sides(self.sizes, self.images))] if self.sizes else []),
            *([("unreadable", _some(self.sizes))] if self.sizes and self.sizes.unreadable else []),
            ("classes", classes(self.classes, self.unlabelled)),
            ("splits", _listed(self.splits) or "none: train holds some images out by itself"),
            *([("left out", out)] if self.left_out else []),
            *(("mind", remark) for remark in self.remarks),
        ]

    def listing(self) -> list[Row]:
        """Every class, with its images."""
        return list(self.classes.items())


def describe_images(text: str, progress: Progress = silent) -> ImagesInfo:
    """What images are, from their names, labels and some headers; none is decoded. Raises VqcliError."""
    source = open_source(text)
    labels = Counter(source.label(i) for i in range(len(source)))
    names = readable(source.classes)
    known = sorted((label, count) for label, count in labels.items() if label is not None)
    formats = Counter(_suffix(source.key(i)) for i in range(len(source)))
    sizes, told = look(source, progress)
    without = formats.pop("", 0)
    formats.update({name: count for name, count in told.items() if without})
    return ImagesInfo(
        source=text,
        images=len(source),
        formats=dict(formats.most_common()),
        sizes=sizes,
        classes={names[label] if label < len(names) else str(label): count for label, count in known},
        unlabelled=labels[None],
        splits={name: len(open_split(source, text, Reading(split=name))) for name in source.splits},
        left_out=dict(source.told.left_out),
        remarks=source.told.remarks,
    )


def _suffix(key: str) -> str:
    return PurePosixPath(key).suffix.lower()


def look(source: Source, progress: Progress = silent) -> tuple[Sizes | None, Counter[str]]:
    """Sizes and formats of images from all over a source."""
    chosen = np.unique(np.linspace(0, len(source) - 1, LOOKED_AT).astype(int)).tolist()
    progress.start("look", len(chosen), "images")
    shapes: list[tuple[int, int]] = []
    formats: Counter[str] = Counter()
    unreadable = []
    for i in chosen:
        try:
            kind, shape = _header(source, i)
            shapes.append(shape)
            formats[kind] += 1
        except (BadImage, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
            if (told := files.os_error(e)) and not files.is_absent(told):
                raise files.unread(source.key(i), told) from e
            unreadable.append(source.key(i))
        progress.advance()
    if not shapes:
        return None, formats
    by_area = sorted(shapes, key=lambda shape: shape[0] * shape[1])
    median = tuple(int(statistics.median(shape[side] for shape in shapes)) for side in (0, 1))
    sizes = (by_area[0], (median[0], median[1]), by_area[-1])
    return Sizes(len(chosen), *sizes, len(set(shapes)), unreadable), formats


def _header(source: Source, i: int) -> tuple[str, tuple[int, int]]:
    """Format, and height and width as an image is shown."""
    source = source.source if isinstance(source, Unlabelled) else source
    if not isinstance(source, StoredSource):
        image = source[i].image
        return "drawn", (image.height, image.width)
    read = source.read(i)
    with (
        warnings.catch_warnings(action="ignore"),
        read.open() if isinstance(read, Location) else io.BytesIO(read) as file,
        Image.open(file) as image,
    ):
        width, height = image.size
        turned = image.getexif().get(274) in TURNED
        return f".{(image.format or '?').lower()}", (width, height) if turned else (height, width)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _sides(sizes: Sizes, images: int) -> str:
    named = ["x".join(map(str, shape)) for shape in (sizes.smallest, sizes.median, sizes.largest)]
    told = named[0] if sizes.shapes == 1 else f"{named[0]} to {named[2]}, median {named[1]}"
    all_of = "" if sizes.looked_at == images else f" (of {sizes.looked_at:,} that were looked at)"
    return f"{told} (height x width){all_of}"


def _some(sizes: Sizes) -> str:
    bad = sizes.unreadable
    return f"{len(bad):,} of {sizes.looked_at:,}: {', '.join(bad[:3])}" + (" ..." if len(bad) > 3 else "")
