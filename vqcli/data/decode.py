"""From a file's bytes to RGB pixels, or to the reason why not.

Rules: formats by allow-list; sizes checked in the header, before anything is decoded; EXIF rotation; first
frame of animations; alpha over black; 16-bit grey scaled to 8 bits; what has no faithful form is refused.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

from vqcli.data.location import Location, NotAFile
from vqcli.errors import BadImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_BYTES = 256 << 20
MAX_PIXELS = 64_000_000
MAX_ASPECT = 32
BAD_DATA = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, AssertionError, EOFError,
    MemoryError, NotImplementedError, struct.error, zlib.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
"""What Pillow raises on data that is not what it should be."""
BITS_PER_SAMPLE, ORIENTATION = 258, 274
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


def decode_image(data: bytes | Location, key: str) -> Image.Image:
    """The RGB image in a file or its bytes. Raises BadImage with a stable reason."""
    if isinstance(data, Location):
        data = _read(data, key)
    if not data:
        raise BadImage(key, "empty-file")
    if len(data) > MAX_BYTES:
        raise BadImage(key, "file-too-large", f"{len(data)} bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return as_rgb(image, key)
        except BAD_DATA as e:
            reason = _reason(e, data)
            raise BadImage(key, reason, "" if reason == "not-an-image" else str(e)) from e


def as_rgb(image: Image.Image, key: str) -> Image.Image:
    """What Pillow has opened as an upright RGB image of its own. Raises BadImage, and what Pillow raises."""
    _check_size(image, key)
    image.load()
    return _to_rgb(_upright(image), key)


def _read(place: Location, key: str) -> bytes:
    """The bytes of a regular file; never waits for a pipe or a device."""
    try:
        size = place.size()
        if size > MAX_BYTES:
            raise BadImage(key, "file-too-large", f"{size} bytes")
        return place.read(0, size)
    except NotAFile as e:
        raise BadImage(key, "not-a-file") from e
    except FileNotFoundError as e:
        raise BadImage(key, "missing") from e
    except (OSError, ValueError) as e:
        raise BadImage(key, "unreadable", str(e)) from e


def _check_size(image: Image.Image, key: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImage(key, "too-many-pixels", f"{height}x{width}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadImage(key, "aspect-ratio", f"{height}x{width}")


def _reason(error: BaseException, data: bytes) -> str:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too-many-pixels"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not-an-image"
    webp_cut = data[:4] == b"RIFF" and len(data) < int.from_bytes(data[4:8], "little") + 8
    return (
        "truncated"
        if webp_cut or isinstance(error, EOFError) or "truncated" in str(error).lower()
        else "damaged"
    )


def _upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation means it to be seen; an EXIF block that cannot be read is ignored."""
    try:
        # Pillow has turned a TIFF already, and dropped its tag
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except BAD_DATA:
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image, key: str) -> Image.Image:
    if image.mode == "F":
        raise BadImage(key, "float-image", "the range of its values is not known")
    if image.mode.startswith("I"):
        return _from_16_bits(image, key)
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image, key: str) -> Image.Image:
    """Grey 0..65535 to 0..255, rounded: all 256 levels stay in use. ``convert`` would clip at 255."""
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
    values = np.asarray(image).astype(np.int64)
    if bits != (16,) or values.min() < 0 or values.max() > 65535:
        raise BadImage(key, "unsupported-depth", f"mode {image.mode}")
    values[values == image.info.get("transparency", -1)] = 0
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
