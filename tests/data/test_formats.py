"""What is read, what is refused by name, and what is damaged."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.images import chunk, grey, picture, save
from vqcli.data.decode import decode_image
from vqcli.data.images.base import IMAGE_SUFFIXES
from vqcli.data.images.open import open_source
from vqcli.errors import BadImage

IMAGE = Image.fromarray(picture())


def refused(data: bytes) -> tuple[str, str]:
    with pytest.raises(BadImage) as caught:
        decode_image(data, "k")
    return caught.value.reason, caught.value.detail


def tiff(values: np.ndarray, bits: int, photometric: int, order: str, **tags: int) -> bytes:
    """Uncompressed samples (H, W) in one strip; ``tags``: more, by ``tNUMBER``."""
    height, width = values.shape
    if bits >= 8:
        body = values.astype(f"{order}u{bits // 8}").tobytes()
    else:
        flat = (values[..., None] >> np.arange(bits)[::-1]) & 1
        body = np.packbits(flat.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height}
    entries[279] = len(body)
    entries |= {int(name[1:]): value for name, value in tags.items()}
    entries[273] = 14 + 12 * (len(entries) + 1)
    ifd = b"".join(
        struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
        if tag != 273
        else struct.pack(f"{order}HHII", tag, 4, 1, value)
        for tag, value in sorted(entries.items())
    )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    return start + ifd + b"\0\0\0\0" + body


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_white_may_be_zero(bits: int, order: str) -> None:
    most = (1 << bits) - 1
    values = np.arange(64).reshape(8, 8) * most // 63
    black_is_zero = grey(np.rint(values * 255 / most))
    for photometric, expected in ((1, black_is_zero), (0, 255 - black_is_zero)):
        got = np.asarray(decode_image(tiff(values, bits, photometric, order), "k"))
        assert np.array_equal(got, expected)


def test_what_integers_mean_is_not_guessed() -> None:
    values = np.arange(64).reshape(8, 8)
    for data, told in (
        (tiff(values, 16, 1, "<", t339=2), "signed"),
        (tiff(values, 8, 1, "<", t339=2), "signed"),
        (tiff(values * 1000, 32, 1, "<"), "32 bits a sample, values 0 to 63000"),
    ):
        reason, detail = refused(data)
        assert (reason, told in detail, "convert it" in detail) == ("unsupported-depth", True, True)


def test_every_ending_of_a_format_that_is_read(tmp_path: Path) -> None:
    kinds = {"AVIF": ".avif .avifs", "JPEG2000": ".jp2 .j2k .jpf .jpx .jpc .j2c", "WEBP": ".webp"}
    kinds |= {"JPEG": ".jpg .jpeg .jpe .jfif .jif .jfi .mpo", "PNG": ".png .apng", "TIFF": ".tif .tiff"}
    kinds |= {"BMP": ".bmp .dib", "GIF": ".gif"}
    endings = {ending: kind for kind, endings in kinds.items() for ending in endings.split()}
    assert endings.keys() == IMAGE_SUFFIXES
    for ending, kind in endings.items():
        (tmp_path / f"a{ending}").write_bytes(save(IMAGE, kind))
    (tmp_path / "B.JFIF").write_bytes(save(IMAGE, "JPEG"))
    source = open_source(str(tmp_path))
    assert len(source) == len(endings) + 1
    assert all(source[i].image.size == IMAGE.size for i in range(len(source)))


def test_of_several_pictures_the_first() -> None:
    for kind in ("MPO", "AVIF", "WEBP", "PNG", "GIF", "TIFF"):
        others = [Image.new("RGB", IMAGE.size, level) for level in (0, 255)]
        data = save(Image.fromarray(picture()), kind, save_all=True, append_images=others)
        got = np.asarray(decode_image(data, kind)).astype(int)
        assert np.abs(got - picture()).mean() < 6


def test_jpeg_2000_and_avif() -> None:
    assert np.array_equal(np.asarray(decode_image(save(IMAGE, "JPEG2000"), "k")), picture())
    assert np.array_equal(np.asarray(decode_image(save(IMAGE, "JPEG2000", no_jp2=True), "k")), picture())
    got = np.asarray(decode_image(save(IMAGE, "AVIF", quality=100), "k")).astype(int)
    assert np.abs(got - picture()).max() <= 10
    for kind in ("JPEG2000", "AVIF"):
        data = save(IMAGE, kind)
        for length in range(12, len(data) - 1, 41):
            assert refused(data[:length])[0] in ("truncated", "damaged")


@pytest.mark.parametrize("compression", ["packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma"])
def test_compressions_of_tiff(compression: str) -> None:
    data = save(IMAGE, "TIFF", compression=compression)
    assert np.array_equal(np.asarray(decode_image(data, "k")), picture())


UNREAD = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40,
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 40,
    "a camera's raw file": b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 40,
    "Photoshop": b"8BPS\0\1" + b"\0" * 40,
    "PDF": b"%PDF-1.7\n",
    "SVG": b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "DICOM": b"\0" * 128 + b"DICM" + b"\0" * 40,
    "TGA": save(IMAGE, "TGA"),
    "ICO": save(IMAGE, "ICO"),
    "PCX": save(IMAGE, "PCX"),
    "PNM": save(IMAGE, "PPM"),
    "SGI": save(IMAGE, "SGI"),
    "DDS": save(IMAGE, "DDS"),
    "ICNS": save(Image.new("RGB", (32, 32)), "ICNS"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_images_of_other_formats_are_told_by_name(name: str) -> None:
    reason, detail = refused(UNREAD[name])
    assert reason == "unsupported-format"
    what, _, how = detail.partition("; ")
    assert what == name
    assert "IN" in how
    assert "OUT" in how


def frame_of(jpeg: bytes) -> int:
    return jpeg.index(b"\xff\xc0")


def test_forms_that_are_not_read_are_told() -> None:
    """Sound files of a format that is read, in a form that Pillow has no decoder for."""
    plain, values = save(IMAGE, "JPEG"), np.zeros((8, 8), int)
    at = frame_of(plain)
    uncompressed, compressed = (struct.pack("<HHIH", 259, 3, 1, value) for value in (1, 34887))
    lerc = save(IMAGE, "TIFF").replace(uncompressed, compressed)
    for data, told in (
        (plain[: at + 4] + b"\x0c" + plain[at + 5 :], "12-bit"),
        (plain[: at + 1] + b"\xc3" + plain[at + 2 :], "lossless"),
        (lerc, "compression 34887"),
        (tiff(values, 8, 32803, "<"), "pixel mode"),
        (tiff(values, 8, 1, "<", t50706=1), "a camera's raw file"),
        (tiff(values, 8, 1, "<", t254=1, t330=8), "a camera's raw file"),
    ):
        reason, detail = refused(data)
        assert (reason, told in detail) == ("unsupported-format", True)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"<!DOCTYPE html>\n<html><body>404", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        (b"PK\x03\x04" + b"\0" * 30, "archive"),
        (b"P1 is no picture, nor is this text", ""),
        (b"BMW, PNG and GIF are words, no pictures", ""),
    ],
)
def test_no_images_are_told_too(data: bytes, told: str) -> None:
    reason, detail = refused(data)
    assert (reason, told in detail, bool(detail)) == ("not-an-image", True, bool(told))


def with_chunks(before: bytes = b"", after: bytes = b"") -> bytes:
    data = save(IMAGE, "PNG")
    return data[:33] + before + data[33:-12] + after + data[-12:]


def test_large_texts_and_profiles_of_png(tmp_path: Path) -> None:
    large = b"<x:xmpmeta>" + b"y" * (3 << 20)
    profile = Image.new("RGB", (1, 1)).tobytes() * (1 << 20)
    texts = {
        "zTXt": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(large)),
        "iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(large)),
        "plain iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + large),
        "iCCP": chunk(b"iCCP", b"p\0\0" + zlib.compress(profile)),
        "bomb": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(40 << 20))),
        "iCCP of another method": chunk(b"iCCP", b"p\0\1" + profile[:99]),
        "iCCP bomb": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(40 << 20))),
    }
    for text in texts.values():
        for data in (with_chunks(text), with_chunks(after=text)):
            assert np.array_equal(np.asarray(decode_image(data, "k")), picture())
    for many in (texts["plain iTXt"] * 30, texts["bomb"] * 99, texts["iCCP bomb"] * 99):
        assert np.array_equal(np.asarray(decode_image(with_chunks(many), "k")), picture())


def test_a_large_profile_of_png_counts() -> None:
    from tests.data.test_colour import CUBE, P3, from_p3

    padded = struct.pack(">I", len(P3) + (2 << 20)) + P3[4:] + bytes(2 << 20)
    data = save(Image.fromarray(CUBE), "PNG", icc_profile=padded)
    assert np.abs(np.asarray(decode_image(data, "k")) - from_p3(CUBE.astype(float))).max() <= 1


def test_orientation_in_a_large_text_of_png() -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/>' + b" " * (2 << 20) + b"</x:xmpmeta>"
    )
    data = with_chunks(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)))
    assert np.array_equal(np.asarray(decode_image(data, "k")), np.rot90(picture(), -1))


def test_a_damaged_png_beside_a_large_text_is_damaged() -> None:
    data = bytearray(with_chunks(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3 << 20)))))
    data[-20] ^= 1
    assert refused(bytes(data))[0] == "damaged"


def test_trailing_bytes_are_no_damage() -> None:
    data = save(IMAGE, "JPEG", quality=100, subsampling=0)
    got = np.asarray(decode_image(data + b"\0more" * 99, "k")).astype(int)
    assert np.abs(got - picture()).max() <= 4
    assert refused(data[:-40])[0] == "truncated"
