"""A source: images of one colour each, named ``solid:N``."""

import re

from PIL import Image

from vqcli.data.images.base import Source
from vqcli.types import Reading, Sample


class SolidSource(Source):
    """Images of one colour, in two classes; ``solid:N`` makes N."""

    FORM = "solid:N"

    @classmethod
    def claims(cls, text: str) -> bool:
        return re.fullmatch(r"solid:\d+", text) is not None

    @classmethod
    def open(cls, text: str, reading: Reading) -> Source:
        return cls(int(text.partition(":")[2]), reading.size or (32, 32))

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.count, self.size, self.classes = count, size, ["dark", "light"]

    def __len__(self) -> int:
        return self.count

    def key(self, i: int) -> str:
        return f"solid/{i:06d}"

    def label(self, i: int) -> int:
        return int(i % 256 >= 128)

    def __getitem__(self, i: int) -> Sample:
        height, width = self.size
        colour = Image.new("RGB", (width, height), (int(i) % 256, int(i) * 91 % 256, int(i) * 13 % 256))
        return Sample(colour, self.label(i), self.key(i))
