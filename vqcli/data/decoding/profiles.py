"""What an image says of its colours, as an ICC profile.

Pillow hands out what is one already; the others are made into one here. As in browsers, PNG's cICP goes
before its ICC profile, that before sRGB, that before gAMA and cHRM; AVIF's nclx counts where there is no ICC
profile. A gamma of 1/2.2 is sRGB's curve: PNG tells writers to approximate it so.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
from PIL import Image

from vqcli.data.decoding.png import chunks
from vqcli.errors import BadImage

PRIMARIES = {
    1: (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (0.3127, 0.3290, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
"""Chromaticities x, y of white, red, green and blue by their number in ITU-T H.273."""
SRGB_PRIMARIES = PRIMARIES[1]
SRGB_CURVE = 0.0
"""In place of an exponent: the curve of sRGB."""
MOST_EXPONENT = 10.0
"""Of a curve that anyone means; its inverse is the least."""
CURVES = {4: 2.2, 5: 2.8, 8: 1.0}
"""Exponents of curves by their number in H.273; all others, those of cameras among them, are as sRGB's."""
HDR = {16: "PQ", 18: "HLG"}
ADAPTATION = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""Bradford's."""
D50 = np.array([0.9642, 1.0, 0.8249])
AVIF_HEAD = 1 << 16
"""Bytes in which an AVIF's colours are looked for: they lie before its pixels."""


def find_profile(image: Image.Image, data: bytes, key: str) -> None:
    """Put what the bytes of an image say of its colours, and Pillow leaves, where Pillow puts an ICC profile.

    Raises BadImage where they are of high dynamic range.
    """
    numbers = b""
    if image.format == "PNG":
        where = (at for name, at, size in chunks(data) if name == b"cICP" and size == 4)
        numbers = next((data[at : at + 2] for at in where), b"")
    elif image.format == "AVIF" and not image.info.get("icc_profile"):
        at = data.find(b"colrnclx", 0, AVIF_HEAD) + 8
        numbers = data[at + 1 : at + 4 : 2] if at >= 8 else b""
    elif image.format == "JPEG2000":
        image.info["icc_profile"] = _of_jpeg2000(data)
    if len(numbers) == 2:
        image.info["icc_profile"] = _of_numbers(numbers[0], numbers[1], key)
        image.info["srgb"] = 0  # what else it says is not asked


def profile_of(image: Image.Image) -> bytes | None:
    """The ICC profile of an image, made where PNG tells the like; None where it says nothing, or sRGB."""
    info = image.info  # texts of a PNG may go by any name here
    profile, gamma, primaries = (info.get(name) for name in ("icc_profile", "gamma", "chromaticity"))
    if isinstance(profile, bytes) and profile:
        return profile
    gamma = gamma if isinstance(gamma, float) else None
    primaries = primaries if isinstance(primaries, tuple) else None
    if "srgb" in info or not (gamma or primaries):
        return None
    exponent = SRGB_CURVE if not gamma or abs(gamma - 1 / 2.2) < 0.003 else 1 / gamma
    return make_profile(primaries or SRGB_PRIMARIES, exponent)


def _of_jpeg2000(data: bytes) -> bytes | None:
    at = data.find(b"colr\x02", 0, AVIF_HEAD)
    return data[at + 7 : at - 4 + int.from_bytes(data[at - 4 : at])] if at >= 4 else None


def _of_numbers(primaries: int, curve: int, key: str) -> bytes | None:
    if curve in HDR:
        hint = "convert it to sRGB, or a standard dynamic range"
        raise BadImage(key, "unsupported-format", f"high dynamic range ({HDR[curve]}): {hint}")
    return make_profile(PRIMARIES.get(primaries, SRGB_PRIMARIES), CURVES.get(curve, SRGB_CURVE))


@lru_cache(32)
def make_profile(primaries: tuple[float, ...], exponent: float) -> bytes | None:
    """An ICC profile of RGB by primaries and one curve; None where that is sRGB, or no colour space.

    ``primaries``: x, y of white, red, green, blue.
    """
    if exponent == SRGB_CURVE and np.allclose(primaries, SRGB_PRIMARIES, atol=0.002):
        return None
    colours = _adapted(primaries)
    if colours is None or not (exponent == SRGB_CURVE or 1 / MOST_EXPONENT <= exponent <= MOST_EXPONENT):
        return None
    if exponent == SRGB_CURVE:
        curve = _parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    else:
        curve = _parametric(0, exponent)
    tags = {b"wtpt": _xyz(D50), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    tags |= {name: _xyz(colours[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _with_header(tags)


def _adapted(primaries: tuple[float, ...]) -> np.ndarray | None:
    """X, Y, Z (3, 3) of red, green and blue, in columns, under D50; None where that is no colour space."""
    x, y = np.array(primaries).reshape(4, 2).T
    if (y <= 0).any():
        return None
    white, *columns = np.stack([x / y, np.ones(4), (1 - x - y) / y], 1)
    colours = np.stack(columns, 1)
    try:
        colours = colours * np.linalg.solve(colours, white)
    except np.linalg.LinAlgError:
        return None
    with np.errstate(all="ignore"):
        scale = np.diag(ADAPTATION @ D50 / (ADAPTATION @ white))
    colours = np.linalg.inv(ADAPTATION) @ scale @ ADAPTATION @ colours
    return colours if np.isfinite(colours).all() and np.abs(colours).max() < 4 else None


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _parametric(kind: int, *values: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(*values)


def _with_header(tags: dict[bytes, bytes]) -> bytes:
    """ICC.1:2010, version 4.3: header of 128 bytes, table of tags, tags."""
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(tag))
        body += tag
    kinds = struct.pack(">IIII4s4s4s", at + len(body), 0, 0x04300000, 0x6D6E7472, b"RGB ", b"XYZ ", b"")
    return kinds.ljust(36, b"\0") + b"acsp" + b"\0" * 28 + _fixed(*D50) + b"\0" * 48 + table + body
