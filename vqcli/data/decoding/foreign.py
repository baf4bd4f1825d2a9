"""What a file is that is not read: told by its bytes, with what converts it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

MAGICK = "convert it: magick IN OUT.png"
RAW = "develop it: darktable-cli IN OUT.png"
HEIF = "convert it: heif-dec IN OUT.png"
STARTS = {
    b"8BPS": ("Photoshop", MAGICK),
    b"%PDF": ("PDF", "draw it: pdftocairo -png IN OUT"),
    b"%!PS": ("PostScript", "draw it: gs -sDEVICE=png16m -o OUT.png IN"),
    b"\xc5\xd0\xd3\xc6": ("EPS", MAGICK),
    b"\0\0\1\0": ("ICO", MAGICK),
    b"\0\0\2\0\0\0\0\0": ("TGA", MAGICK),
    b"\0\0\x0a\0\0\0\0\0": ("TGA", MAGICK),
    b"\0\0\2\0": ("a cursor", MAGICK),
    b"icns": ("ICNS", MAGICK),
    b"DDS ": ("DDS", MAGICK),
    b"qoif": ("QOI", MAGICK),
    b"gimp xcf": ("GIMP's XCF", MAGICK),
    b"v/1\1": ("OpenEXR", MAGICK),
    b"#?RADIANCE": ("Radiance HDR", MAGICK),
    b"#?RGBE": ("Radiance HDR", MAGICK),
    b"SIMPLE  =": ("FITS", MAGICK),
    b"BPG\xfb": ("BPG", "convert it: bpgdec -o OUT.png IN"),
    b"FLIF": ("FLIF", "convert it: flif -d IN OUT.png"),
    b"\x59\xa6\x6a\x95": ("Sun raster", MAGICK),
    b"\1\xda\0\1": ("SGI", MAGICK),
    b"\1\xda\1\1": ("SGI", MAGICK),
    b"\x0a\x05\x01\x08": ("PCX", MAGICK),
    b"\xd7\xcd\xc6\x9a": ("WMF", MAGICK),
    b"\x8aMNG\r\n\x1a\n": ("MNG", MAGICK),
    b"\x8bJNG\r\n\x1a\n": ("JNG", MAGICK),
    b"\xff\x0a": ("JPEG XL", "convert it: djxl IN OUT.png"),
    b"\0\0\0\x0cJXL \r\n\x87\n": ("JPEG XL", "convert it: djxl IN OUT.png"),
    b"II\xbc\1": ("JPEG XR", "convert it: JxrDecApp -i IN -o OUT.tif"),
    b"\xff\xd8\xff\xf7": ("JPEG-LS", "convert it: ffmpeg -i IN OUT.png"),
    b"FUJIFILMCCD-RAW": ("a camera's raw file", RAW),
    b"IIRO": ("a camera's raw file", RAW),
    b"IIRS": ("a camera's raw file", RAW),
    b"MMOR": ("a camera's raw file", RAW),
    b"IIU\0": ("a camera's raw file", RAW),
    b"FOVb": ("a camera's raw file", RAW),
}
"""First bytes of a file: what it is, and what makes a PNG of it."""
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
OF_NO_IMAGE = (
    (rb"version https://git-lfs\.", "a Git LFS pointer: git lfs pull brings the file"),
    (rb"\s*(<!doctype html|<html)", "a page of HTML, such as a server answers in place of a file"),
    (rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ", "a video: take pictures of it with ffmpeg -i IN %06d.png"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "an archive: unpack it"),
    (rb"\x89HDF", "HDF5: write its arrays as .npz"),
    (rb"\x93NUMPY", "an array of numpy: an .npz with arr_0, uint8 (N, H, W, 3), is read"),
)
READ = (
    ("JPEG", rb"\xff\xd8\xff"), ("PNG", rb"\x89PNG\r\n\x1a\n"), ("WEBP", rb"RIFF....WEBP"),
    ("BMP", rb"BM.{12}.\0\0\0"), ("GIF", rb"GIF8[79]a"), ("TIFF", rb"II\*\0|MM\0\*|II\+\0|MM\0\+"),
    ("AVIF", rb"....ftypavis"), ("JPEG2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
)  # fmt: skip
"""First bytes of what is read, by Pillow's name."""


def told_format(data: bytes) -> str | None:
    """Pillow's name of the format that is read and that bytes begin as."""
    if b"avif" in _brands(data):
        return "AVIF"
    return next((name for name, start in READ if re.match(start, data, re.DOTALL)), None)


def unread_image(data: bytes) -> str | None:
    """What image it is that is not read, and what converts it; None where it is none."""
    return next((f"{name}; {hint}" for name, hint in _kinds(data)), None)


def no_image(data: bytes) -> str:
    """What else a file is, or nothing."""
    return next((text for start, text in OF_NO_IMAGE if re.match(start, data, re.DOTALL | re.IGNORECASE)), "")


def is_cr2(data: bytes) -> bool:
    """Whether it is a raw file of Canon's second kind."""
    return data.startswith(b"II*\0") and data[8:11] == b"CR\2"


def is_raw(tags: Mapping[int, Any]) -> bool:
    """Whether tags of a TIFF are of a camera's raw file, whose first picture is a thumbnail."""
    dng_version, kind, parts = 50706, 254, 330
    return dng_version in tags or (parts in tags and bool(tags.get(kind, 0) & 1))


def _brands(data: bytes) -> bytes:
    """What a file of boxes (ISO 14496-12) says it is, best first, four bytes each."""
    return data[8 : min(int.from_bytes(data[:4]), 64)] if data[4:8] == b"ftyp" else b""


def _kinds(data: bytes) -> Iterator[tuple[str, str]]:
    yield from (kind for start, kind in STARTS.items() if data.startswith(start))
    brands = _brands(data)
    if brands[:4] in HEIF_BRANDS and b"avif" not in brands:
        yield "HEIC", HEIF
    if data[4:12] == b"ftypcrx " or is_cr2(data):
        yield "a camera's raw file", RAW
    if re.match(rb"P[1-7Ff]\s+(#|\d|WIDTH)", data):
        yield "PNM", MAGICK
    if re.match(rb"(\xef\xbb\xbf)?\s*<(svg|\?xml.*<svg)", data[:4096], re.DOTALL):
        yield "SVG", "draw it: rsvg-convert IN -o OUT.png"
    if data[128:132] == b"DICM":
        yield "DICOM", "convert it: dcmj2pnm +on IN OUT.png"
    if data[40:44] == b" EMF":
        yield "EMF", MAGICK
    if data[-18:-2] == b"TRUEVISION-XFILE":
        yield "TGA", MAGICK
