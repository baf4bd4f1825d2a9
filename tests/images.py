"""A corpus of odd images, each with what it should come to; made on the spot, nothing stored."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 16


@dataclass(frozen=True)
class Odd:
    """One file: its bytes, and the RGB pixels it must give (within ``tolerance``) or why it is refused."""

    data: bytes
    pixels: np.ndarray | None = None
    tolerance: int = 0
    reason: str = ""


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def picture(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A smooth RGB image (height, width, 3) whose four corners differ."""
    y, x = np.mgrid[:height, :width]
    red, green = 40 + 200 * x // max(width - 1, 1), 30 + 190 * y // max(height - 1, 1)
    return np.stack([red, green, (red + green) // 3], axis=-1).astype(np.uint8)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1).astype(np.uint8)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def gif_header(width: int, height: int) -> bytes:
    """A GIF that claims a size and holds next to nothing."""
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08\x02\x01\x01\0;"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0" + frame


def _alpha() -> dict[str, Odd]:
    rgb, alpha = picture(), (np.arange(SIDE * SIDE) % 256).astype(np.uint8).reshape(SIDE, SIDE)
    over_black = np.rint(rgb * (alpha[..., None] / 255))
    rgba = Image.fromarray(np.dstack([rgb, alpha]))
    grey_alpha = Image.fromarray(np.dstack([rgb[..., 0], alpha]))
    palette = Image.fromarray(rgb[..., 0] // 64).convert("L")
    palette = Image.frombytes("P", palette.size, palette.tobytes())
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 200, 100, 50])
    colours = np.array([[255, 0, 0], [0, 0, 0], [0, 0, 255], [200, 100, 50]])
    opaque = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50]])
    return {
        "rgba.png": Odd(save(rgba, "PNG"), over_black, 1),
        "rgba.webp": Odd(save(rgba, "WEBP", lossless=True, exact=True), over_black, 1),
        "grey-alpha.png": Odd(save(grey_alpha, "PNG"), grey(np.rint(rgb[..., 0] * (alpha / 255))), 1),
        "palette.png": Odd(save(palette, "PNG"), opaque[rgb[..., 0] // 64]),
        "palette-transparent.png": Odd(save(palette, "PNG", transparency=1), colours[rgb[..., 0] // 64]),
        "palette-alpha.png": Odd(
            save(palette, "PNG", transparency=bytes([255, 0, 255, 255])), colours[rgb[..., 0] // 64]
        ),
        "colour-key.png": Odd(
            save(Image.new("RGB", (4, 4), (9, 8, 7)), "PNG", transparency=(9, 8, 7)), np.zeros((4, 4, 3))
        ),
    }


def with_bits(tiff: bytes, bits: int) -> bytes:
    """A 16-bit TIFF that says it has another depth."""
    entry = struct.pack("<HHIH", 258, 3, 1, 16)
    assert entry in tiff
    return tiff.replace(entry, struct.pack("<HHIH", 258, 3, 1, bits))


def _depths() -> dict[str, Odd]:
    ramp = np.linspace(0, 65535, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
    eight = grey(np.rint(ramp / 257))
    bits = np.indices((SIDE, SIDE)).sum(0) % 2 == 0
    negative = Image.fromarray(np.full((4, 4), -5, np.int32))
    keyed, flat = (
        save(Image.fromarray(np.full((4, 4), 700, np.uint16)), "PNG", transparency=700),
        np.zeros((4, 4, 3)),
    )
    return {
        "grey16-colour-key.png": Odd(keyed, flat),
        "grey12.tif": Odd(with_bits(save(Image.fromarray(ramp), "TIFF"), 12), reason="unsupported-depth"),
        "grey16.png": Odd(save(Image.fromarray(ramp), "PNG"), eight),
        "grey16.tif": Odd(save(Image.fromarray(ramp), "TIFF"), eight),
        "grey8.jpg": Odd(
            save(Image.fromarray(picture()[..., 0]), "JPEG", quality=95), grey(picture()[..., 0]), 4
        ),
        "one-bit.png": Odd(save(Image.fromarray(bits), "PNG"), grey(bits * 255)),
        "one-bit.tif": Odd(save(Image.fromarray(bits), "TIFF", compression="group4"), grey(bits * 255)),
        "float.tif": Odd(save(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), reason="float-image"),
        "grey32.tif": Odd(save(negative, "TIFF"), reason="unsupported-depth"),
    }


def _cmyk() -> dict[str, Odd]:
    """Flat inks: JPEG keeps them. Pillow writes CMYK inverted, with Adobe's marker, as Photoshop does."""
    inks = Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0))
    red = np.tile(np.array([255, 0, 0], np.uint8), (SIDE, SIDE, 1))
    return {
        "cmyk.jpg": Odd(save(inks, "JPEG", quality=95), red, 4),
        "cmyk.tif": Odd(save(inks, "TIFF"), red, 4),
    }


def oriented(kind: str, orientation: int, **options: object) -> bytes:
    """A file that shows ``picture(12, 20)`` upright, stored turned as its EXIF orientation says."""
    pixels = picture(12, 20)
    stored = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 1), 7: pixels[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(pixels, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[274] = orientation
    return save(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)


def _orientations() -> dict[str, Odd]:
    upright, found = picture(12, 20), {}
    for orientation in range(1, 9):
        jpeg = oriented("JPEG", orientation, quality=100, subsampling=0)
        found[f"exif{orientation}.jpg"] = Odd(jpeg, upright, 4)
        found[f"exif{orientation}.png"] = Odd(oriented("PNG", orientation), upright)
        found[f"exif{orientation}.webp"] = Odd(oriented("WEBP", orientation, lossless=True), upright)
        found[f"exif{orientation}.tif"] = Odd(oriented("TIFF", orientation), upright)
    found["exif-lzw.tif"] = Odd(oriented("TIFF", 6, compression="tiff_lzw"), upright)
    found["exif-unknown.png"] = Odd(_with_orientation_9(), upright)
    rubbish = b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 20
    found["exif-rubbish.png"] = Odd(save(Image.fromarray(upright), "PNG", exif=rubbish), upright)
    return found


def _with_orientation_9() -> bytes:
    exif = Image.Exif()
    exif[274] = 9
    return save(Image.fromarray(picture(12, 20)), "PNG", exif=exif)


def _animations() -> dict[str, Odd]:
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    red, options = np.array(frames[0]), {"save_all": True, "append_images": frames[1:]}
    return {
        "animated.gif": Odd(save(frames[0], "GIF", **options), red),
        "animated.webp": Odd(save(frames[0], "WEBP", lossless=True, **options), red),
        "animated.png": Odd(save(frames[0], "PNG", **options), red),
        "pages.tif": Odd(save(frames[0], "TIFF", **options), red),
    }


def _sizes() -> dict[str, Odd]:
    one = np.array([[[10, 20, 30]]], np.uint8)
    wide = Image.fromarray(picture(1, 4096))
    return {
        "1x1.png": Odd(save(Image.fromarray(one), "PNG"), one),
        "2x64.png": Odd(save(Image.fromarray(picture(2, 64)), "PNG"), picture(2, 64)),
        "1x4096.jpg": Odd(save(wide, "JPEG"), reason="aspect-ratio"),
        "4096x1.png": Odd(save(wide.transpose(Image.Transpose.TRANSPOSE), "PNG"), reason="aspect-ratio"),
        "65mp.png": Odd(png_header(8125, 8000), reason="too-many-pixels"),
        "100mp.png": Odd(png_header(10_000, 10_000), reason="too-many-pixels"),
        "bomb.png": Odd(png_header(100_000, 100_000), reason="too-many-pixels"),
        "bomb.gif": Odd(gif_header(65535, 65535), reason="too-many-pixels"),
    }


def _damaged() -> dict[str, Odd]:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    jpeg, png, webp = save(noise, "JPEG"), save(noise, "PNG"), save(noise, "WEBP", lossless=True)
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 1
    text_bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * (80 << 20)))
    return {
        "half.jpg": Odd(jpeg[: len(jpeg) // 2], reason="truncated"),
        "half.png": Odd(png[: len(png) // 2], reason="truncated"),
        "half.webp": Odd(webp[: len(webp) // 2], reason="truncated"),
        "bit.png": Odd(bytes(flipped), reason="damaged"),
        "text-bomb.png": Odd(png[:33] + text_bomb + png[33:], np.array(noise)),
        "empty.jpg": Odd(b"", reason="empty-file"),
        "text.jpg": Odd(b"not an image at all\n" * 9, reason="not-an-image"),
        "script.png": Odd(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", reason="unsupported-format"),
        "icon.png": Odd(save(Image.fromarray(picture()), "ICO"), reason="unsupported-format"),
        "signature.png": Odd(b"\x89PNG\r\n\x1a\n", reason="truncated"),
    }


def _formats() -> dict[str, Odd]:
    image = Image.fromarray(picture())
    return {
        "plain.bmp": Odd(save(image, "BMP"), picture()),
        "wrong-name.jpg": Odd(save(image, "PNG"), picture()),
        "progressive.jpg": Odd(
            save(image, "JPEG", quality=100, subsampling=0, progressive=True), picture(), 4
        ),
        "trailing.png": Odd(save(image, "PNG") + b"PK\x03\x04 and more", picture()),
    }


def corpus() -> dict[str, Odd]:
    """Every odd image by name."""
    parts = (_alpha, _depths, _cmyk, _orientations, _animations, _sizes, _damaged, _formats)
    return {name: odd for part in parts for name, odd in part().items()}
