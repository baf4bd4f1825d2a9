"""Formats that are read, and why a file of one cannot be."""

from __future__ import annotations

import io
import re
import struct
import zlib
from functools import cache

from PIL import Image, features
from PIL.TiffImagePlugin import COMPRESSION_INFO

from vqcli.data.decoding.foreign import MAGICK, no_image, told_format, unread_image
from vqcli.data.decoding.tiff import tags
from vqcli.errors import BadImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000")
"""Formats that are read, where Pillow was built with them; of a JPEG with more pictures (MPO) the first."""
BAD_DATA = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, AssertionError, EOFError,
    MemoryError, NotImplementedError, struct.error, zlib.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
"""What Pillow raises on data that is not what it should be."""
NOT_SUPPORTED = "unsupported|cannot handle|not (supported|available)|unknown (pixel mode|data)|unable to det"
"""What Pillow says of data that it has no decoder for."""
CUT = r"truncated|requires a buffer|not enough data|only got|no more images|\(chunk b'.{0,3}'\)"
"""What Pillow says of data whose end is missing."""
COMPRESSION = 259
COMMON_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32771, 32773, 32946}
"""Of TIFF, those that libtiff is always built with."""
UNREAD_PROCESSES = {3: "lossless", 5: "hierarchical", 6: "hierarchical", 7: "lossless"}
"""By the last three bits of the marker that begins a frame."""


@cache
def formats_read() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this Pillow knows."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def bad_image(error: Exception, data: bytes, key: str) -> BadImage:
    """Why data cannot be read: damaged only where it is."""
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return BadImage(key, "too-many-pixels")
    unread, kind = unread_image(data), told_format(data)
    if unread:
        return BadImage(key, "unsupported-format", unread)
    if kind is None:
        return BadImage(key, "not-an-image", no_image(data))
    if kind not in formats_read() or (kind == "AVIF" and not features.check("avif")):
        return BadImage(key, "unsupported-format", f"{kind}, which this Pillow was built without; {MAGICK}")
    if isinstance(error, Image.UnidentifiedImageError):
        error = _said(kind, data) or error
    text = "" if isinstance(error, Image.UnidentifiedImageError) else str(error)  # it names an address
    unread = {"TIFF": _tiff_compression, "JPEG": _jpeg_process}.get(kind, lambda _: None)(data)
    if unread or re.search(NOT_SUPPORTED, text, re.IGNORECASE):
        return BadImage(key, "unsupported-format", f"{kind} of a form not read: {unread or text}; {MAGICK}")
    webp_cut = kind == "WEBP" and len(data) < int.from_bytes(data[4:8], "little") + 8
    cut = webp_cut or isinstance(error, EOFError) or re.search(CUT, text, re.IGNORECASE)
    return BadImage(key, "truncated" if cut else "damaged", text)


def _said(kind: str, data: bytes) -> Exception | None:
    """What Pillow's own reader of a format says, where ``Image.open`` has dropped it."""
    try:
        Image.OPEN[kind][0](io.BytesIO(data), "").close()
    except BAD_DATA as e:
        return e
    return None


def _jpeg_process(data: bytes) -> str | None:
    """How a JPEG is coded, where that is lossless or by levels of detail."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame begins
            return UNREAD_PROCESSES.get(marker & 7)
        at += 2 + size
    return None


def _tiff_compression(data: bytes) -> str | None:
    """How a TIFF is compressed, where this libtiff cannot read that."""
    _, compression = tags(data).get(COMPRESSION, (0, 1))
    known = compression in COMMON_COMPRESSIONS or _compresses(compression)
    return None if known else f"compression {compression}"


def _compresses(compression: int) -> bool:
    try:
        name = COMPRESSION_INFO[compression]
        Image.new("RGB", (16, 16)).save(io.BytesIO(), "TIFF", compression=name)
    except BAD_DATA:
        return False
    return True
