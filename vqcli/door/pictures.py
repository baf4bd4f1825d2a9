"""Images as Python programs hold and name them, as a source.

Shape letters: N images, H, W their sides in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from vqcli.data.decode import as_rgb, decode_image
from vqcli.data.images.base import Source
from vqcli.data.location import location
from vqcli.types import Sample

ImageLike = Image.Image | str | os.PathLike[str] | np.ndarray
"""An image of Pillow, the path of a file, or uint8 (H, W, 3)."""
FORMS = "PIL images, paths of files, uint8 arrays (H, W, 3) or (N, H, W, 3), or a float tensor (N, 3, H, W)"


class GivenImages(Source):
    """Images that a program holds or names, as a source."""

    classes: list[str] = []

    def __init__(self, images: ImageLike | Sequence[ImageLike]) -> None:
        """Raises ValueError where they are not of ``FORMS``, or there are none."""
        self._items = _items(images)
        if not self._items:
            raise ValueError("there are no images")
        for item in self._items:
            check_form(item)

    def __len__(self) -> int:
        return len(self._items)

    def key(self, i: int) -> str:
        item = self._items[i]
        return os.fspath(item) if isinstance(item, str | os.PathLike) else f"image {i}"

    def label(self, i: int) -> int | None:
        return None

    def __getitem__(self, i: int) -> Sample:
        item, key = self._items[i], self.key(i)
        if isinstance(item, Image.Image):
            return Sample(as_rgb(item, key), None, key)
        if isinstance(item, np.ndarray):
            return Sample(Image.fromarray(item), None, key)
        return Sample(decode_image(location(key), key), None, key)


def _items(images: ImageLike | Sequence[ImageLike]) -> Sequence[ImageLike]:
    if isinstance(images, Image.Image | str | os.PathLike):
        return [images]
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, Sequence):
        return images
    raise ValueError(f"images are {FORMS}, not {type(images).__name__}")


def check_form(item: object) -> None:
    """Raises ValueError where something is no image."""
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim != 3 or item.shape[2] != 3 or 0 in item.shape:
            raise ValueError(f"arrays of images are uint8 (H, W, 3), RGB, not {item.dtype} {item.shape}")
    elif isinstance(item, str | os.PathLike):
        if location(os.fspath(item)).is_folder():
            raise ValueError(f"{os.fspath(item)} is a folder: vqcli.encode_images takes those")
    elif isinstance(item, Image.Image):
        if 0 in item.size:
            raise ValueError(f"an image has no pixels: it is of {item.height}x{item.width}")
    else:
        raise ValueError(f"images are {FORMS}, not {type(item).__name__}")
