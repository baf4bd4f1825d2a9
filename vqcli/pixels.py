"""Pixels: conversions between PIL images, 8-bit tensors and floats in [-1, 1], and how images come to size.

Sizes are (height, width) in pixels. Shape letters: B images of a batch, N images, H, W sides.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

LARGEST = 4
"""Resizing makes no picture of more than this many times the pixels asked for, however thin the image."""
GAP = 2
"""Pixels between the images of a contact sheet."""
Rounding = Literal["nearest", "truncate", "truncate_128", "none"]
"""How [-1, 1] becomes 8 bits: to the nearest level, halves to even; by cutting off what stands behind the
point of 255 (x + 1) / 2, or of 127.5 x + 128 (ADM's and LlamaGen's samples); or not at all."""


def planes(image: Image.Image) -> bytes:
    """The 3*H*W levels of an RGB image, one colour after the other: Pillow takes them apart the fastest."""
    return b"".join([image.tobytes("raw", colour) for colour in "RGB"])


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as uint8 (3, H, W)."""
    return torch.frombuffer(bytearray(planes(image)), dtype=torch.uint8).view(3, image.height, image.width)


def to_pil(image: Tensor) -> Image.Image:
    """A uint8 (3, H, W) tensor as an RGB image."""
    _, h, w = image.shape
    levels = (plane.tobytes() for plane in image.cpu().numpy())
    return Image.merge("RGB", [Image.frombuffer("L", (w, h), plane, "raw", "L", 0, 1) for plane in levels])


def normalize(images: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) to float in [-1, 1]: x / 127.5 - 1."""
    return images.float() / 127.5 - 1


def on_device(images: Tensor, device: torch.device) -> Tensor:
    """uint8 (B, 3, H, W) of this process, normalized, on a device."""
    return normalize(fetched(images, device))


def fetched(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of this process on a device; a GPU fetches it while we go on."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def to_uint8(images: Tensor, rounding: Rounding = "nearest") -> Tensor:
    """Float images to uint8, clamped to [-1, 1]. Raises ValueError where nothing is to be rounded."""
    if rounding == "none":
        raise ValueError("8 bits cannot hold what is not rounded")
    levels = images.float() * 127.5 + (128 if rounding == "truncate_128" else 127.5)
    if rounding == "nearest":
        levels = ((images.float() + 1) * 127.5).round()
    return levels.clamp(0, 255).to(torch.uint8)


def jpeg(images: Tensor, quality: int = 75) -> Tensor:
    """uint8 (B, 3, H, W) as they come back from JPEG files of Pillow, on the same device."""

    def there_and_back(image: Tensor) -> Tensor:
        file = io.BytesIO()
        to_pil(image).save(file, "JPEG", quality=quality)
        return to_tensor(Image.open(file))

    with ThreadPoolExecutor() as pool:  # Pillow computes outside of Python's lock
        return torch.stack(list(pool.map(there_and_back, images.cpu()))).to(images.device)


def contact_sheet(images: Tensor, columns: int) -> Image.Image:
    """uint8 (N, 3, H, W) as one picture of ``columns`` a row, with thin white gaps."""
    n, _, h, w = images.shape
    rows = math.ceil(n / columns)
    sheet = np.full((rows * (h + GAP) - GAP, columns * (w + GAP) - GAP, 3), 255, np.uint8)
    for i, image in enumerate(images.permute(0, 2, 3, 1).cpu().numpy()):
        top, left = i // columns * (h + GAP), i % columns * (w + GAP)
        sheet[top : top + h, left : left + w] = image
    return Image.fromarray(sheet)


class TooSmall(ValueError):
    """An image that has not the pixels a transform needs."""


Stream = Callable[[], np.random.Generator]
"""Makes a random stream, from its start: making one takes longer than decoding a small image."""


class Transform(Protocol):
    """How an RGB image comes to its size; one that draws makes ``stream``, once, and draws from it alone."""

    def __call__(self, image: Image.Image, stream: Stream) -> Image.Image: ...


@dataclass(frozen=True)
class CenterCrop:
    """Scale until the image just covers ``size``, cut the centre: ADM (arXiv:2105.05233), LlamaGen's eval."""

    size: tuple[int, int]

    def __call__(self, image: Image.Image, stream: Stream) -> Image.Image:
        image, (height, width) = _scale(image, self.size)
        top, left = (height - self.size[0]) // 2, (width - self.size[1]) // 2
        return _cut(image, (height, width), (top, left), self.size)


@dataclass(frozen=True)
class CentreCut:
    """No scaling: cut the centre, with black around smaller images: torchvision's CenterCrop, FVQ's eval."""

    size: tuple[int, int]

    def __call__(self, image: Image.Image, stream: Stream) -> Image.Image:
        # an odd number of missing pixels: one less above than below; of spare ones: an even number above
        top, left = (
            round(spare / 2) if spare >= 0 else -(-spare // 2)
            for spare in (image.height - self.size[0], image.width - self.size[1])
        )
        return image.crop((left, top, left + self.size[1], top + self.size[0]))


@dataclass(frozen=True)
class SmallestSide:
    """Scale until the image just covers ``size``, bilinear, not antialiased, cut the centre: VQGAN-LC's eval.

    albumentations' SmallestMaxSize and CenterCrop; OpenCV's whole numbers lie up to one level below ours.
    """

    size: tuple[int, int]

    def __call__(self, image: Image.Image, stream: Stream) -> Image.Image:
        factor = max(self.size[0] / image.height, self.size[1] / image.width)
        height, width = round(image.height * factor), round(image.width * factor)
        scaled = F.interpolate(to_tensor(image)[None].float(), (height, width), mode="bilinear")
        top, left = (height - self.size[0]) // 2, (width - self.size[1]) // 2
        cut = scaled[0, :, top : top + self.size[0], left : left + self.size[1]]
        return to_pil(cut.round().to(torch.uint8))


@dataclass(frozen=True)
class Flip:
    """The centre crop, mirrored half of the time."""

    size: tuple[int, int]

    def __call__(self, image: Image.Image, stream: Stream) -> Image.Image:
        return _flip(CenterCrop(self.size)(image, stream), stream())


@dataclass(frozen=True)
class RandomCrop:
    """Scale to what covers ``size``, or up to ``largest`` times that, and cut anywhere."""

    size: tuple[int, int]
    flip: bool
    """Also mirror half of the images."""
    largest: float = 1.25
    """1.25 is LlamaGen's training (arXiv:2406.06525), 1 VQGAN's (arXiv:2012.09841)."""

    def __call__(self, image: Image.Image, stream: Stream) -> Image.Image:
        rng, short = stream(), min(self.size)
        side = int(rng.integers(short, math.ceil(short * self.largest), endpoint=True))
        cover = (round(self.size[0] * side / short), round(self.size[1] * side / short))
        image, (height, width) = _scale(image, cover)
        top = int(rng.integers(0, height - self.size[0], endpoint=True))
        left = int(rng.integers(0, width - self.size[1], endpoint=True))
        image = _cut(image, (height, width), (top, left), self.size)
        return _flip(image, rng) if self.flip else image


@dataclass(frozen=True)
class NativeCrop:
    """No scaling: the centre, cut to a multiple of ``multiple`` pixels a side. Raises TooSmall."""

    multiple: int

    def __call__(self, image: Image.Image, stream: Stream) -> Image.Image:
        width, height = image.size
        h, w = height // self.multiple * self.multiple, width // self.multiple * self.multiple
        if not h or not w:
            raise TooSmall(f"{height}x{width} pixels, needs {self.multiple}x{self.multiple}")
        top, left = (height - h) // 2, (width - w) // 2
        return image.crop((left, top, left + w, top + h))


def crop(name: str, size: tuple[int, int]) -> Transform:
    """How an evaluation protocol brings images to ``size``; ``name`` is what its table calls that."""
    crops: dict[str, Callable[[tuple[int, int]], Transform]] = {
        "adm": CenterCrop,
        "centre": CentreCut,
        "smallest_side": SmallestSide,
    }
    return crops[name](size)


def _flip(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def _scale(image: Image.Image, cover: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """The image, halved while it is twice as large as needed, and the (height, width) at which it covers."""
    while image.width >= 2 * cover[1] and image.height >= 2 * cover[0]:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    factor = max(cover[0] / image.height, cover[1] / image.width)
    return image, (max(cover[0], round(image.height * factor)), max(cover[1], round(image.width * factor)))


def _cut(
    image: Image.Image, scaled: tuple[int, int], at: tuple[int, int], size: tuple[int, int]
) -> Image.Image:
    """The ``size`` at (top, left) of what the image would be at ``scaled``, bicubic."""
    (height, width), (top, left), (h, w) = scaled, at, size
    if image.size == (w, h) == (width, height):
        return image
    if height * width <= LARGEST * h * w:
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + w, top + h))
    y, x = image.height / height, image.width / width
    return image.resize(
        (w, h), Image.Resampling.BICUBIC, box=(left * x, top * y, (left + w) * x, (top + h) * y)
    )
