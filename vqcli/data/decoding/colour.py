"""Colours to sRGB, as what an image says of its own colours asks for.

Relative colorimetric with black-point compensation: grey stays grey, what sRGB cannot show is clipped. Where
a profile is primaries and curves (Display P3, Adobe RGB, ...), all intents come to the same. As in browsers,
a profile that is damaged, or of a colour space that the pixels are not in, is as none: the pixels are taken
for sRGB. Colours are converted before alpha is put over black. A profile that moves no colour by more than a
level is sRGB's, and the pixels stay as they are.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, features

COLOURS = "colours to sRGB"
"""What was done to the pixels, in the words of the record of tokens."""
COLOURS_KEPT = "colours as stored"
"""The same where profiles were left alone (``keep_profile``)."""
SPACES = {"1": "GRAY", "L": "GRAY", "LA": "GRAY", "La": "GRAY", "I": "GRAY", "CMYK": "CMYK", "LAB": "Lab "}
"""Colour space, as ICC calls it, of a mode of Pillow; RGB where it is not here."""
LARGEST_CACHED = 1 << 20
"""Bytes of a profile whose conversion is kept for the next image."""
Conversion = Callable[[Image.Image], Image.Image]
"""Of an image in RGB (CMYK, LAB where it is so stored), which it may change, to RGB."""


class NoColourManagement(Exception):
    """Pillow was built without LittleCMS, and an image has a profile."""


def conversion(mode: str, profile: bytes | None) -> Conversion | None:
    """What brings pixels of a mode under an ICC profile to sRGB; None where they are in sRGB.

    Raises NoColourManagement.
    """
    space = SPACES.get(mode.partition(";")[0], "RGB ")
    if not profile and space != "Lab ":
        return None
    if not features.check("littlecms2"):
        raise NoColourManagement
    if not profile or space == "Lab ":  # Lab is what it is, under any profile
        return _conversion(b"", space)
    small = len(profile) <= LARGEST_CACHED
    return _conversion(profile, space) if small else _conversion.__wrapped__(profile, space)


def levels_of_16_bits(profile: bytes | None) -> np.ndarray:
    """The level 0..255 in sRGB of each grey 0..65535: all 256 stay in use. Raises NoColourManagement."""
    convert = conversion("L", profile)
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert("RGB")
    return _between(np.asarray(convert(ramp) if convert else ramp)[0, :, 1].tobytes())


@lru_cache(8)
def _between(levels: bytes) -> np.ndarray:
    known = np.frombuffer(levels, np.uint8)
    return np.rint(np.interp(np.arange(65536) / 257, np.arange(256), known)).astype(np.uint8)


@lru_cache(32)
def _conversion(profile: bytes, space: str) -> Conversion | None:
    try:
        source = io.BytesIO(profile) if profile else ImageCms.createProfile("LAB")
        found = ImageCms.ImageCmsProfile(source)
        stored = found.profile.xcolor_space
        if space == "GRAY" and stored == "RGB ":
            space = stored  # greys of that colour space
        if stored != space:
            return None
        convert = _levels(found) if space == "GRAY" else _colours(found, space)
        probe = _probe()
        if space in ("RGB ", "GRAY") and _difference(convert(probe.copy()), probe) <= 1:
            return None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return convert


def _colours(profile: ImageCms.ImageCmsProfile, space: str) -> Conversion:
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if space == "GRAY":
        flags |= ImageCms.Flags.NOOPTIMIZE  # it would round a grey's curve to 33 points
    mode = {"RGB ": "RGB", "CMYK": "CMYK", "Lab ": "LAB", "GRAY": "L"}[space]
    transform = ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags,
    )

    def convert(image: Image.Image) -> Image.Image:
        if mode != "RGB":
            return transform.apply(image)
        return transform.apply_in_place(image)

    return convert


def _levels(profile: ImageCms.ImageCmsProfile) -> Conversion:
    """A grey profile as a table of levels."""
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    table = np.asarray(_colours(profile, "GRAY")(ramp))[0, :, 1].tolist() * 3
    return lambda image: image.point(table)


def _probe() -> Image.Image:
    """All greys, and colours throughout the cube."""
    steps = np.linspace(0, 255, 17).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    return Image.fromarray(np.concatenate([greys, cube])[None])


def _difference(a: Image.Image, b: Image.Image) -> int:
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())
