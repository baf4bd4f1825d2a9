"""Several views of every image, each an item of its own: what generators are trained on.

Tokens are made once and read for hundreds of epochs, so augmentation comes before them: the centre and its
mirror image, or ten crops, as LlamaGen does (arXiv:2406.06525).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from vqcli.data.images.base import Source
from vqcli.pixels import CenterCrop
from vqcli.types import Augment, Sample

VIEWS: dict[Augment, int] = {"none": 1, "flip": 2, "ten-crop": 10}
"""Views of an image."""


class Views(Source):
    """Every image of a source as views of one size, which follow each other; their keys are ``KEY#view``.

    The first half are crops, the second half the same crops of the mirror image. An image that cannot be used
    is reported by its own key.
    """

    def __init__(self, source: Source, size: tuple[int, int], crop_range: float | None = None) -> None:
        """``size`` is (height, width) of a view. Without ``crop_range`` it is cut from the centre alone; with
        it (at least 1) from the corners and the centre of ``int(side * crop_range)`` pixels a side."""
        self.source, self.size, self.cover = source, size, size
        self.classes, self.splits, self.told = source.classes, source.splits, source.told
        self.places = [(0, 0)]
        if crop_range is not None:
            self.cover = int(size[0] * crop_range), int(size[1] * crop_range)
            self.places = corners_and_centre(self.cover, size)
        self.views = 2 * len(self.places)
        self._last: tuple[int, Image.Image] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None}

    @property
    def preprocessing(self) -> str:
        """How images become views, in words."""
        (height, width), (h, w) = self.cover, self.size
        crops = f"ten crops of {h}x{w}" if len(self.places) > 1 else "also mirrored"
        return f"resize (bicubic) and centre crop to {height}x{width}, {crops}"

    def __len__(self) -> int:
        return len(self.source) * self.views

    def key(self, i: int) -> str:
        image, view = divmod(i, self.views)
        return f"{self.source.key(image)}#{view}"

    def label(self, i: int) -> int | None:
        return self.source.label(i // self.views)

    def extras(self, i: int) -> dict[str, Any]:
        return self.source.extras(i // self.views)

    def __getitem__(self, i: int) -> Sample:
        number, view = divmod(i, self.views)
        mirrored, place = divmod(view, len(self.places))
        image, (top, left), (h, w) = self._covered(number), self.places[place], self.size
        if mirrored:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return Sample(image.crop((left, top, left + w, top + h)), self.label(i), self.key(i), self.extras(i))

    def _covered(self, number: int) -> Image.Image:
        """An image, decoded and scaled once for all of its views."""
        if self._last is None or self._last[0] != number:
            image = self.source[number].image
            self._last = number, CenterCrop(self.cover)(image, np.random.default_rng)  # draws nothing
        return self._last[1]


def corners_and_centre(cover: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    """(top, left) of the five crops of ``size``: top left, top right, bottom left, bottom right, centre.

    Torchvision's order, and its centre: half of an odd difference is rounded to the even side.
    """
    bottom, right = cover[0] - size[0], cover[1] - size[1]
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2))]
