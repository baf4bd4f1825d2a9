"""What could come from outside the package: two sources and a place, each the whole of what it takes."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from vqcli.data.images.base import Source
from vqcli.data.images.shards import ShardSource
from vqcli.data.location import Listing, Location, kind_of, suffix_of
from vqcli.types import Reading, Sample


class SolidSource(Source):
    """Images of one colour each, 8x8 or as asked."""

    FORM = "solid:N"

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.count, self.size, self.classes = count, size, ["dark", "light"]

    @classmethod
    def claims(cls, text: str) -> bool:
        return re.fullmatch(r"solid:\d+", text) is not None

    @classmethod
    def open(cls, text: str, reading: Reading) -> Source:
        return cls(int(text.partition(":")[2]), reading.size or (8, 8))

    def __len__(self) -> int:
        return self.count

    def key(self, i: int) -> str:
        return f"solid/{i:04d}"

    def label(self, i: int) -> int:
        return int(i * 2 >= self.count)

    def __getitem__(self, i: int) -> Sample:
        if not 0 <= i < self.count:
            raise IndexError(i)
        colour = tuple((int(i) * step) % 256 for step in (37, 91, 151))
        return Sample(Image.new("RGB", self.size[::-1], colour), self.label(i), self.key(i))


class GreySource(ShardSource):
    """Shards of a kind of their own: a byte is an image, of one pixel."""

    FORM = ".grey shards"
    SUFFIX = ".grey"

    def __init__(self, files: Sequence[Location], reading: Reading, names: Sequence[str]) -> None:
        self.classes, self.pixels = [], b"".join(file.read(0, file.size()) for file in files)

    def __len__(self) -> int:
        return len(self.pixels)

    def key(self, i: int) -> str:
        return str(i)

    def label(self, i: int) -> None:
        return None

    def __getitem__(self, i: int) -> Sample:
        return Sample(Image.new("RGB", (1, 1), (self.pixels[i],) * 3), None, self.key(i))


SOURCES = {"solid": "tests.data.toys:SolidSource", "grey": "tests.data.toys:GreySource"}
"""As lines of ``PARTS["sources"]``."""


@dataclass(frozen=True)
class Memory(Location):
    """Files in a dictionary, as far from a disk as can be."""

    files: dict[str, bytes]
    name: str = ""

    def __str__(self) -> str:
        return f"memory://{self.name}"

    def __truediv__(self, name: str) -> Memory:
        return Memory(self.files, f"{self.name}/{name}" if self.name else name)

    def exists(self) -> bool:
        return self.name in self.files or self.is_folder()

    def is_folder(self) -> bool:
        return any(name.startswith(f"{self.name}/") for name in self.files)

    def open(self) -> BinaryIO:
        return io.BytesIO(self._data())

    def size(self) -> int:
        return len(self._data())

    def read(self, offset: int, length: int) -> bytes:
        return self._data()[offset : offset + length]

    def listing(self, suffixes: Collection[str]) -> Listing:
        below = f"{self.name}/" if self.name else ""
        names = sorted(name.removeprefix(below) for name in self.files if name.startswith(below))
        found = {suffix: [name for name in names if suffix_of(name) == suffix] for suffix in suffixes}
        others = Counter(kind_of(name) for name in names if suffix_of(name) not in suffixes)
        return Listing({suffix: its for suffix, its in found.items() if its}, dict(others))

    def _data(self) -> bytes:
        if self.name not in self.files:
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return self.files[self.name]
