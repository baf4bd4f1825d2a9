"""Images the package draws: ten classes of shapes and textures, to try everything without a download.

Image ``i`` of a split is a function of the split and ``i`` alone. Edges are smooth at any size: a shape is a
signed distance field, negative inside, and its value in pixels is the coverage at the edge.
Shape letters: h, w sides in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image

from vqcli.data.images.base import Source
from vqcli.data.images.splits import SPLITS, check_split
from vqcli.errors import VqcliError
from vqcli.types import Reading, Sample

COUNT, SIZE = 2000, (64, 64)
Field = np.ndarray
"""Signed distance (h, w) float32, in the units of the coordinates it was made from."""


def _disc(x: Field, y: Field) -> Field:
    return np.hypot(x, y) - 1


def _ring(x: Field, y: Field) -> Field:
    return np.abs(np.hypot(x, y) - 0.78) - 0.24


def _square(x: Field, y: Field) -> Field:
    return np.maximum(np.abs(x), np.abs(y)) - 0.84


def _triangle(x: Field, y: Field) -> Field:
    return np.maximum(np.abs(x) * 0.866 + (y + 0.2) * 0.5, -(y + 0.2)) - 0.58


def _star(x: Field, y: Field) -> Field:
    """Five points: the plane is folded into half a point, whose edge runs from tip (1.1, 0) to notch."""
    fifth = 2 * np.pi / 5
    angle = np.abs(np.mod(np.arctan2(y, x) + fifth / 2, fifth) - fifth / 2)
    radius = np.hypot(x, y)
    tip, notch = np.array([1.1, 0]), 0.46 * np.array([np.cos(fifth / 2), np.sin(fifth / 2)])
    along = (tip - notch) / np.hypot(*(tip - notch))
    return (radius * np.cos(angle) - tip[0]) * -along[1] + radius * np.sin(angle) * along[0]


def _cross(x: Field, y: Field) -> Field:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 0.3, y - 1), np.maximum(y - 0.3, x - 1))


def _wave(x: Field, period: float) -> Field:
    """Distance to the edges of bands of half a period."""
    return np.abs(np.mod(x, period) - period / 2) - period / 4


def _stripes(x: Field, y: Field) -> Field:
    return _wave(x, 0.8)


def _checkerboard(x: Field, y: Field) -> Field:
    a, b = _wave(x, 1.3), _wave(y, 1.3)
    return np.maximum(np.minimum(a, b), -np.maximum(a, b))


def _dots(x: Field, y: Field) -> Field:
    return np.hypot(np.mod(x, 0.8) - 0.4, np.mod(y, 0.8) - 0.4) - 0.24


CLASSES: dict[str, Callable[[Field, Field], Field] | None] = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "stripes": _stripes,
    "checkerboard": _checkerboard,
    "dots": _dots,
    "gradient": None,
}


class DemoSource(Source):
    """Shapes and textures drawn by the package, ten classes in turn; ``demo:N`` draws N."""

    FORM = "demo[:N]"
    splits = SPLITS

    def __init__(self, count: int = COUNT, size: tuple[int, int] = SIZE, split: str | None = None) -> None:
        """``size`` is (height, width) in pixels. Raises VqcliError for an unknown split."""
        self.classes = list(CLASSES)
        self.count, self.size, self.split = count, size, check_split(split or "train", SPLITS, "demo")

    @classmethod
    def claims(cls, text: str) -> bool:
        return text == "demo" or text.startswith("demo:")

    @classmethod
    def open(cls, text: str, reading: Reading) -> DemoSource:
        _, colon, count = text.partition(":")
        if colon and not (count.isascii() and count.isdigit() and 0 < int(count) < 10**9):
            raise VqcliError(
                f"{text}: the number of images is missing", hint="demo:500", reason="input-missing"
            )
        return cls(int(count) if colon else COUNT, reading.size or SIZE, reading.split)

    def sized(self, size: tuple[int, int] | None) -> DemoSource:
        return DemoSource(self.count, size or self.size, self.split)

    def __len__(self) -> int:
        return self.count

    def key(self, i: int) -> str:
        return f"demo/{self.split}/{i:06d}"

    def label(self, i: int) -> int:
        return int(i) % len(CLASSES)

    def __getitem__(self, i: int) -> Sample:
        if not 0 <= i < self.count:
            raise IndexError(i)
        rng = np.random.Generator(np.random.Philox(key=(SPLITS.index(self.split) << 64) + int(i)))
        return Sample(draw(self.classes[self.label(i)], self.size, rng), self.label(i), self.key(i))


def draw(name: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """One image of a class: random colours, place, size and angle."""
    x, y = _coordinates(size)
    turn, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.8)
    left, top = rng.uniform(-0.25, 0.25, 2)
    cos, sin = np.float32(np.cos(turn) / scale), np.float32(np.sin(turn) / scale)
    u, v = (x - left) * cos + (y - top) * sin, (y - top) * cos - (x - left) * sin
    shape = CLASSES[name]
    if shape is None:
        amount = np.clip(u * 0.55 + 0.5, 0, 1)
    else:
        amount = np.clip(0.5 - shape(u, v) * scale * min(size) / 2, 0, 1)
    back, front = _colours(rng)
    light = 1 - 0.12 * (u * scale)  # from a side that turns with the shape
    colours = back + amount[..., None] * (front - back)
    return Image.fromarray(np.clip(colours * light[..., None] * 255, 0, 255).astype(np.uint8))


@lru_cache(maxsize=4)
def _coordinates(size: tuple[int, int]) -> tuple[Field, Field]:
    """Pixel centres, -1 to 1 along the shorter side."""
    h, w = size
    y, x = np.mgrid[:h, :w].astype(np.float32)
    return (2 * x + 1 - w) / min(size), (2 * y + 1 - h) / min(size)


def _colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two colours (3,) that stand apart in hue and in lightness."""
    hue = rng.random()
    hues = np.array([hue, hue + rng.uniform(0.3, 0.7)])
    vivid = 0.5 + 0.5 * np.cos(2 * np.pi * (hues[:, None] + np.array([0, 1 / 3, 2 / 3])))
    dark, pale = 0.08 + 0.5 * vivid[0], 0.5 + 0.5 * vivid[1]
    pair = (dark, pale) if rng.random() < 0.5 else (pale, dark)
    return pair[0].astype(np.float32), pair[1].astype(np.float32)
