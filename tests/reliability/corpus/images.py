"""Images: cut, flipped, of odd modes, sizes and formats; each beside a good one, which must be encoded."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.reliability.corpus.base import picture
from tests.reliability.corpus.case import Case, both, encode, put

GOOD = put("in/good.png", picture())
BITS = 12
"""Flips a format and a kind."""


def saved(mode: str, format: str, side: int = 40, **more: Any) -> bytes:
    """A picture of a mode in a format."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 255, (side, side, 3), dtype=np.uint8)
    image, file = Image.fromarray(pixels).convert(mode), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # formats that Pillow will not write for ever
        image.save(file, format=format, **more)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, data: bytes | None = None, depth: int = 8, colour: int = 0, more: bytes = b""
) -> bytes:
    """A PNG whose header may claim anything."""
    data = zlib.compress(bytes(1000)) if data is None else data
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(width: int, height: int, more: bytes = b"") -> bytes:
    """A whole grey PNG, black."""
    made = zlib.compressobj(9)
    parts = [made.compress(bytes(width + 1)) for _ in range(height)]
    return png(width, height, b"".join([*parts, made.flush()]), more=more)


def _array(image: Any, format: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, format=format)
    return file.getvalue()


def _floats(value: float) -> bytes:
    import numpy as np

    return _array(np.full((12, 12), value, np.float32), "TIFF")


def _rejected() -> dict[str, tuple[str, bytes | Callable[[], bytes], tuple[str, ...]]]:
    """Name -> ending, bytes, reasons."""
    import numpy as np

    broken = ("truncated", "damaged", "not-an-image")
    found: dict[str, tuple[str, bytes | Callable[[], bytes], tuple[str, ...]]] = {}
    heads = {
        "png": b"\x89PNG\r\n\x1a\n",
        "jpg": b"\xff\xd8\xff",
        "webp": b"RIFF\0\0\0\0WEBP",
        "bmp": b"BM",
        "gif": b"GIF89a",
    }
    for ending in ("png", "jpg", "webp", "gif", "bmp", "tif"):
        found[f"empty-{ending}"] = (ending, b"", ("empty-file",))
        found[f"one-byte-{ending}"] = (ending, b"\x89", ("not-an-image", "truncated"))
        found[f"signature-{ending}"] = (ending, heads.get(ending, b"II*\0"), broken)
    for format, ending in (("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("BMP", "bmp")):
        whole = saved("RGB", format)
        for percent in (10, 25, 50, 75, 90):
            found[f"cut-{ending}-{percent}"] = (ending, whole[: len(whole) * percent // 100], broken)
    for name, width, height in (
        ("100k", 10**5, 10**5),
        ("31-bits", 2**31 - 1, 2**31 - 1),
        ("12k", 12000, 12000),
    ):
        found[f"bomb-{name}"] = ("png", png(width, height), ("too-many-pixels",))
    found["bomb-real"] = ("png", lambda: zeros(9000, 9000), ("too-many-pixels",))
    found["bomb-gif"] = ("gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;",
                         ("too-many-pixels", *broken))  # fmt: skip
    found["bomb-bmp"] = ("bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
                         ("too-many-pixels", *broken))  # fmt: skip
    for width, height in ((1, 4096), (4096, 1), (2, 60000), (33, 1), (1, 65500)):
        found[f"aspect-{width}x{height}"] = ("png", zeros(width, height), ("aspect-ratio",))
    for name, width, height in (("0x5", 0, 5), ("5x0", 5, 0), ("0x0", 0, 0)):
        found[f"sides-{name}"] = ("png", png(width, height), broken)
    found["bmp-width-negative"] = ("bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, -4, 4, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(48), (*broken, "too-many-pixels"))  # fmt: skip
    for name, value in (("1", 0.5), ("65535", 65535.0), ("nan", float("nan")), ("inf", float("inf"))):
        found[f"float-{name}"] = ("tif", _floats(value), ("float-image",))
    found["int32"] = (
        "tif",
        _array(np.arange(144, dtype=np.int32).reshape(12, 12) * 7000, "TIFF"),
        ("unsupported-depth",),
    )
    texts = {
        "text": b"hello, world, this is a text", "html": b"<html><script>alert(1)</script>", "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "pdf": b"%PDF-1.7\n1 0 obj\n", "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "elf": b"\x7fELF\2\1\1" + bytes(60),
        "mp4": b"\0\0\0\x18ftypmp42" + bytes(40), "zip": b"PK\5\6" + bytes(18), "gzip": b"\x1f\x8b\x08" + bytes(20),
        "utf16": "hello world".encode("utf-16"), "zeros": bytes(5000), "ones": b"\xff" * 5000,
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
    }  # fmt: skip
    for name, data in texts.items():
        for ending in ("png", "jpg"):
            found[f"{name}-as-{ending}"] = (ending, data, ("not-an-image", "unsupported-format"))
    for format in ("ICO", "PCX", "TGA", "PPM", "SGI", "DDS", "ICNS", "MSP", "IM"):
        mode = "1" if format == "MSP" else "RGB"
        if format != "ICNS":
            found[f"format-{format}"] = ("png", saved(mode, format), ("unsupported-format", "not-an-image"))
    for name, kind, data in (("ztxt", b"zTXt", b"a\0\0" + zlib.compress(bytes(50 << 20))),
                             ("iccp", b"iCCP", b"a\0\0" + zlib.compress(bytes(50 << 20)))):  # fmt: skip
        found[f"metadata-{name}"] = ("png", zeros(12, 12, chunk(kind, data)), ())
    found["idat-garbage"] = ("png", png(12, 12, b"garbage"), broken)
    found["idat-empty"] = ("png", png(12, 12, b""), broken)
    found["no-idat"] = (
        "png",
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 0))
        + chunk(b"IEND", b""),
        broken,
    )
    found["depth-3"] = ("png", png(12, 12, depth=3), broken)
    found["colour-5"] = ("png", png(12, 12, colour=5), broken)
    found["chunk-of-2-gb"] = (
        "png",
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31 - 1) + b"IHDR" + bytes(30),
        broken,
    )
    return found


def _accepted() -> dict[str, tuple[str, bytes]]:
    import numpy as np

    found = {}
    for mode in ("L", "LA", "P", "1", "RGBA", "I;16"):
        data = (
            _array(np.arange(144, dtype=np.uint16).reshape(12, 12) * 400, "PNG")
            if mode == "I;16"
            else saved(mode, "PNG", 12)
        )
        found[f"mode-{mode.replace(';', '')}"] = ("png", data)
    found["mode-cmyk"] = ("jpg", saved("CMYK", "JPEG", 12))
    for side in (1, 2, 3, 7, 8, 9, 15):
        found[f"side-{side}"] = ("png", saved("RGB", "PNG", side))
    found["1x32"], found["32x1"] = ("png", zeros(1, 32)), ("png", zeros(32, 1))
    for orientation in (0, 1, 3, 6, 8, 9, 99):
        from PIL import Image

        exif = Image.Exif()
        exif[0x0112] = orientation
        found[f"exif-{orientation}"] = ("jpg", saved("RGB", "JPEG", 12, exif=exif))
    found["exif-garbage"] = ("jpg", saved("RGB", "JPEG", 12, exif=b"Exif\0\0garbage!"))
    found["icc-garbage"] = ("png", saved("RGB", "PNG", 12, icc_profile=b"garbage" * 10))
    for format, ending in (("GIF", "png"), ("WEBP", "jpg"), ("BMP", "png"), ("JPEG", "png"), ("PNG", "jpg")):
        found[f"{format}-as-{ending}"] = (ending, saved("RGB", format, 12))
    found["trailing-junk"] = ("png", saved("RGB", "PNG", 12) + b"junk" * 100)
    found["two-pngs"] = ("png", saved("RGB", "PNG", 12) * 2)
    found["progressive"] = ("jpg", saved("RGB", "JPEG", 12, progressive=True))
    found["lossless-webp"] = ("webp", saved("RGB", "WEBP", 12, lossless=True))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate"):
        found[f"tiff-{compression}"] = ("tif", saved("RGB", "TIFF", 12, compression=compression))
    return found


def cases(seed: int) -> Iterator[Case]:
    """Flips are drawn by the seed."""
    for name, (ending, data, reasons) in _rejected().items():
        file = f"in/bad.{ending}"
        bad = (
            put(file, data)
            if isinstance(data, bytes)
            else (lambda folder, f=file, d=data: put(f, d())(folder))
        )
        if reasons:
            yield Case(name, both(GOOD, bad), encode("in"), 3, reasons)
        else:
            yield Case(name, both(GOOD, bad), encode("in"), 0)
    for name, (ending, data) in _accepted().items():
        yield Case(name, both(GOOD, put(f"in/other.{ending}", data)), encode("in"), 0)
    chance = random.Random(seed)
    whole = saved("RGB", "PNG")
    at = whole.index(b"IDAT") + 4
    for i in range(BITS):
        data = bytearray(whole)
        data[chance.randrange(at, len(whole) - 20)] ^= 1 << chance.randrange(8)
        yield Case(
            f"flip-idat-{i}",
            both(GOOD, put("in/bad.png", bytes(data))),
            encode("in"),
            3,
            ("damaged", "truncated"),
        )
    for i in range(6):
        data = bytearray(whole)
        data[chance.randrange(16, 29)] ^= 1 << chance.randrange(8)
        yield Case(f"flip-ihdr-{i}", both(GOOD, put("in/bad.png", bytes(data))), encode("in"), 3,
                   ("damaged", "truncated", "not-an-image", "too-many-pixels", "aspect-ratio"))  # fmt: skip
    for name in ("empty-file", "truncated"):
        data = b"" if name == "empty-file" else whole[: len(whole) // 2]
        yield Case(
            f"strict-{name}",
            both(GOOD, put("in/bad.png", data)),
            encode("in", "--strict"),
            1,
            (name,),
            "bad.png",
        )
        yield Case(f"alone-{name}", put("in/bad.png", data), encode("in"), 1, ("input-empty", name))
