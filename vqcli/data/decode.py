"""From a file's bytes to RGB pixels, or to the reason why not.

Rules: formats by allow-list; sizes checked in the header, before anything is decoded; EXIF rotation; first
frame of animations; colours to sRGB; alpha over black; 16-bit grey scaled to 8 bits; what has no faithful
form is refused. What the machine refuses, in files or memory, is no property of an image: no BadImage.
"""

from __future__ import annotations

import errno
import io
import math
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from vqcli import bounds, files
from vqcli.data.decoding.colour import NoColourManagement, conversion, levels_of_16_bits
from vqcli.data.decoding.foreign import MAGICK, RAW, is_cr2, is_raw
from vqcli.data.decoding.formats import BAD_DATA, bad_image, formats_read
from vqcli.data.decoding.png import PNG_MAGIC, plain
from vqcli.data.decoding.profiles import find_profile, profile_of
from vqcli.data.decoding.tiff import PHOTOMETRIC, WHITE_IS_ZERO, with_black_as_zero
from vqcli.data.location import Disk, Location, NotAFile
from vqcli.errors import BadImage, VqcliError

MAX_PIXELS = 64_000_000
MAX_ASPECT = 32
BYTES_A_PIXEL = 32
"""That decoding an image takes at most, all its steps together."""
BITS_PER_SAMPLE, ORIENTATION, SAMPLE_FORMAT = 258, 274, 339
SIGNED = 2
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image with this EXIF orientation upright."""


def decode_image(data: bytes | Location | Path, key: str, *, keep_profile: bool = False) -> Image.Image:
    """The RGB image in a file or its bytes, in sRGB unless ``keep_profile``.

    Raises BadImage, and VqcliError where the machine fails.
    """
    if isinstance(data, Path):
        data = Disk(data)
    if isinstance(data, Location):
        data = _read(data, key)
    if not data:
        raise BadImage(key, "empty-file")
    if len(data) > bounds.IMAGE:
        raise BadImage(key, "file-too-large", f"{len(data)} bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return _decode(data, key, keep_profile)
        except BAD_DATA as e:
            if isinstance(e, OSError) and e.errno:  # of the machine: bytes in memory have none
                raise
            if isinstance(e, MemoryError) or "out of memory" in str(e):
                _check_memory(data, key, e)
            raise bad_image(e, data, key) from e


def _check_memory(data: bytes, key: str, error: Exception) -> None:
    """Raises VqcliError where memory lacks for what an image is; one that asks for more is damaged."""
    try:
        with suppress(*(set(BAD_DATA) - {MemoryError})), _open(data) as image:
            bytearray(BYTES_A_PIXEL * min(math.prod(image.size), MAX_PIXELS))
    except MemoryError:
        hint = "fewer --num-workers and a smaller --batch-size need less; the same command goes on"
        raise VqcliError(f"memory lacks to decode {key}", hint=hint, reason="memory") from error


def as_rgb(image: Image.Image, key: str, *, keep_profile: bool = False) -> Image.Image:
    """What Pillow has opened as an upright RGB image of its own, in sRGB unless ``keep_profile``.

    Raises BadImage, and what Pillow raises.
    """
    _check_size(image, key)
    image.load()
    profile = None if keep_profile else profile_of(image)
    try:
        rgb = _to_rgb(_upright(image), key, profile)
    except NoColourManagement as e:
        detail = "its colour profile needs a Pillow built with LittleCMS; --keep-profile leaves colours be"
        raise BadImage(key, "unsupported-format", detail) from e
    rgb.info = {}  # what it said was done
    return rgb


def _decode(data: bytes, key: str, keep_profile: bool) -> Image.Image:
    """An image, also where Pillow refuses a sound one."""
    try:
        with _open(data) as image:
            return _finish(image, data, key, keep_profile)
    except (Image.UnidentifiedImageError, SyntaxError, ValueError):
        if data.startswith(PNG_MAGIC):  # refused for what lies beside its pixels
            data, profile = plain(data)
            with _open(data) as image:
                image.info |= {"icc_profile": profile} if profile else {}
                return _finish(image, data, key, keep_profile)
        turned = with_black_as_zero(data)
        if turned:  # a TIFF of greys of 16 bits whose 0 is white
            with _open(turned) as image:
                if isinstance(image, TiffImageFile) and image.mode.startswith("I"):
                    image.tag_v2[PHOTOMETRIC] = WHITE_IS_ZERO
                    return _finish(image, turned, key, keep_profile)
        raise


def _open(data: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(data), formats=formats_read())


def _finish(image: ImageFile.ImageFile, data: bytes, key: str, keep_profile: bool) -> Image.Image:
    if isinstance(image, TiffImageFile) and (is_cr2(data) or is_raw(image.tag_v2)):
        raise BadImage(key, "unsupported-format", f"a camera's raw file; {RAW}")
    if not keep_profile:
        find_profile(image, data, key)
    return as_rgb(image, key, keep_profile=keep_profile)


def _read(place: Location, key: str) -> bytes:
    """The bytes of a regular file; never waits for a pipe or a device."""
    try:
        size = place.size()
        if size > bounds.IMAGE:
            raise BadImage(key, "file-too-large", f"{size} bytes")
        return place.read(0, size)
    except (NotAFile, IsADirectoryError) as e:
        raise BadImage(key, "not-a-file") from e
    except ValueError as e:
        raise BadImage(key, "missing", str(e)) from e
    except OSError as e:
        if files.is_absent(e):
            raise BadImage(key, "missing", "" if e.errno == errno.ENOENT else str(e.strerror)) from e
        raise files.unread(place, e) from e


def _check_size(image: Image.Image, key: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(key, "too-many-pixels", f"{height}x{width}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadImage(key, "aspect-ratio", f"{height}x{width}")


def _upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation means it to be seen; an EXIF block that cannot be read is ignored."""
    try:
        # Pillow has turned a TIFF already, and dropped its tag
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except BAD_DATA:
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image, key: str, profile: bytes | None) -> Image.Image:
    if image.mode == "F":
        raise BadImage(key, "float-image", f"the range of its values is not known; {MAGICK}")
    if image.mode.startswith("I"):
        return _from_16_bits(image, key, profile)
    if SIGNED in getattr(image, "tag_v2", {}).get(SAMPLE_FORMAT, ()):
        raise BadImage(key, "unsupported-depth", f"8 bits a sample, signed values; {MAGICK}")
    if image.mode == "La":
        image = image.convert("LA")  # the one mode that Pillow takes nowhere else
    convert = conversion(image.mode, profile)
    if image.mode in ("CMYK", "LAB"):
        return convert(image) if convert else image.convert("RGB")
    if not image.has_transparency_data:
        return convert(image.convert("RGB")) if convert else image.convert("RGB")
    colours = image.convert("RGBA")
    if convert:
        alpha = colours.getchannel("A")
        colours = convert(colours.convert("RGB"))
        colours.putalpha(alpha)
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, colours).convert("RGB")


def _from_16_bits(image: Image.Image, key: str, profile: bytes | None) -> Image.Image:
    """Grey 0..65535 to 0..255, rounded: ``convert`` would clip at 255, and not see that 0 is white."""
    tags, values = getattr(image, "tag_v2", {}), np.asarray(image)
    bits, signed = tags.get(BITS_PER_SAMPLE, (16,)), tags.get(SAMPLE_FORMAT) == (SIGNED,)
    if bits != (16,) or signed or values.min() < 0 or values.max() > 65535:
        what = "signed values" if signed else "values"
        detail = f"{bits[0]} bits a sample, {what} {values.min()} to {values.max()}; {MAGICK}"
        raise BadImage(key, "unsupported-depth", detail)
    levels = levels_of_16_bits(profile)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        levels = levels[::-1]
    pixels = levels[values]
    pixels[values == image.info.get("transparency", -1)] = 0
    return Image.fromarray(pixels).convert("RGB")
