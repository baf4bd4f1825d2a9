import struct
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.images import chunk, save
from vqcli.data.decode import as_rgb, decode_image
from vqcli.data.decoding.colour import _conversion, conversion
from vqcli.data.decoding.profiles import PRIMARIES, SRGB_CURVE, make_profile
from vqcli.errors import BadImage

P3 = make_profile(PRIMARIES[12], SRGB_CURVE)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
STEPS = np.arange(0, 256, 15, dtype=np.uint8)
CUBE = np.stack(np.meshgrid(STEPS, STEPS, STEPS), -1).reshape(54, 108, 3)
LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)


def pixels(data: bytes, *, keep_profile: bool = False) -> np.ndarray:
    return np.asarray(decode_image(data, "k", keep_profile=keep_profile)).astype(int)


def linear(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries: tuple[float, ...]) -> np.ndarray:
    x, y = np.array(primaries).reshape(4, 2).T
    white, *columns = np.stack([x / y, np.ones(4), (1 - x - y) / y], 1)
    colours = np.stack(columns, 1)
    return colours * np.linalg.solve(colours, white)


def from_p3(values: np.ndarray) -> np.ndarray:
    matrix = np.linalg.inv(to_xyz(PRIMARIES[1])) @ to_xyz(PRIMARIES[12])
    return srgb(linear(values / 255) @ matrix.T)


def curve_profile(space: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of version 2 with these tags."""
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(tag))
        body += tag
    head = struct.pack(">IIII4s4s", at + len(body), 0, 0x02400000, int.from_bytes(b"prtr"), space, kind)
    white = struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(36, b"\0") + b"acsp" + b"\0" * 28 + white + b"\0" * 48 + table + body


def grey_profile(gamma: float) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    return curve_profile(b"GRAY", b"XYZ ", {b"kTRC": curve})


def ink_profile() -> bytes:
    """CMYK whose cyan is a printer's, Lab (55, -37, -50), not the screen's; two grid points an ink."""
    light = {0: (255, 128, 128), 1: (140, 91, 78)}
    grid = [light[c] if not (m or y or k) else (0, 128, 128) for c, m, y, k in np.ndindex(2, 2, 2, 2)]
    same = bytes(range(256))
    unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + same * 4 + bytes(sum(grid, ())) + same * 3
    return curve_profile(b"CMYK", b"Lab ", {b"A2B0": table, b"A2B1": table})


def test_wide_gamut_becomes_srgb() -> None:
    expected = from_p3(CUBE.astype(float))
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        got = pixels(save(Image.fromarray(CUBE), kind, icc_profile=P3, **options))
        assert np.abs(got - expected).max() <= 1
    jpeg = save(Image.new("RGB", (16, 16), (60, 200, 80)), "JPEG", quality=100, icc_profile=P3)
    assert np.abs(pixels(jpeg)[8, 8] - from_p3(np.array([60.0, 200.0, 80.0]))).max() <= 3
    assert np.abs(from_p3(np.array([60.0, 200.0, 80.0])) - [60, 200, 80]).max() > 30


def test_profiles_can_be_left_alone() -> None:
    image = Image.fromarray(CUBE)
    image.info["icc_profile"] = P3
    assert np.array_equal(pixels(save(image, "PNG", icc_profile=P3), keep_profile=True), CUBE)
    assert np.array_equal(np.asarray(as_rgb(image, "k", keep_profile=True)), CUBE)
    assert np.abs(np.asarray(as_rgb(image, "k")) - from_p3(CUBE.astype(float))).max() <= 1


def test_images_that_came_out_are_not_converted_again() -> None:
    once = decode_image(save(Image.fromarray(CUBE), "PNG", icc_profile=P3), "k")
    assert np.array_equal(np.asarray(as_rgb(once, "k")), np.asarray(once))


def test_srgb_by_any_profile_leaves_pixels_be() -> None:
    table = np.rint(linear(np.linspace(0, 1, 1024)) * 65535).astype(">u2").tobytes()
    curve = b"curv\0\0\0\0" + struct.pack(">I", 1024) + table
    tags = {name: b"XYZ \0\0\0\0" + struct.pack(">3i", *at) for name, at in (
        (b"rXYZ", (28578, 14581, 912)), (b"gXYZ", (25241, 46981, 6361)), (b"bXYZ", (9377, 3976, 46799)),
    )}  # fmt: skip
    of_tables = curve_profile(b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))
    for profile in (SRGB, of_tables):
        assert conversion("RGB", profile) is None
        assert np.array_equal(pixels(save(Image.fromarray(CUBE), "PNG", icc_profile=profile)), CUBE)


@pytest.mark.parametrize("profile", [b"\0" * 400, P3[:200], b"no profile", grey_profile(1.0), ink_profile()])
def test_unusable_profiles_are_as_none(profile: bytes) -> None:
    """Damaged, or of another colour space."""
    assert np.array_equal(pixels(save(Image.fromarray(CUBE), "PNG", icc_profile=profile)), CUBE)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_grey_profiles(gamma: float) -> None:
    image, profile = Image.fromarray(LEVELS), grey_profile(gamma)
    expected = srgb((LEVELS / 255.0) ** (round(gamma * 256) / 256))[..., None]
    assert np.abs(pixels(save(image, "PNG", icc_profile=profile)) - expected).max() <= 1
    veiled = image.convert("LA")
    assert np.abs(pixels(save(veiled, "PNG", icc_profile=profile)) - expected).max() <= 1


def test_16_bit_greys_keep_their_steps_under_a_profile() -> None:
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    got = pixels(save(Image.fromarray(ramp), "PNG", icc_profile=grey_profile(1.8)))[..., 0]
    assert np.abs(got - srgb((ramp / 65535) ** (461 / 256))).max() <= 1.5
    assert (np.diff(got.ravel()) >= 0).all()


def test_grey_under_a_profile_of_colours() -> None:
    """Greys of that space: Adobe RGB's are of gamma 2.2, those of Display P3 are sRGB's."""
    adobe = make_profile((0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06), 2.19921875)
    image = Image.fromarray(LEVELS)
    expected = srgb((LEVELS / 255.0) ** 2.19921875)[..., None]
    assert np.abs(pixels(save(image, "TIFF", icc_profile=adobe)) - expected).max() <= 1
    assert np.abs(pixels(save(image, "PNG", icc_profile=P3)) - LEVELS[..., None]).max() == 0


def test_palette_and_alpha_are_converted_before_black() -> None:
    colour, alpha = np.array([60, 200, 80]), 100
    expected = np.rint(from_p3(colour.astype(float))) * (alpha / 255)
    image = Image.new("RGBA", (4, 4), (*colour.tolist(), alpha))
    assert np.abs(pixels(save(image, "PNG", icc_profile=P3)) - expected).max() <= 1.5
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, *colour.tolist()])
    got = pixels(save(palette, "PNG", icc_profile=P3, transparency=bytes([0, alpha])))
    assert np.abs(got - expected).max() <= 1.5


def test_inks() -> None:
    """With a profile as it says, without one as Pillow mixes them."""
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    for kind in ("TIFF", "JPEG"):
        printed = pixels(save(cyan, kind, icc_profile=ink_profile()))[4, 4]
        assert np.abs(printed - [0, 148, 221]).max() <= 6  # that Lab, without a profile's help
        assert np.abs(pixels(save(cyan, kind))[4, 4] - [0, 255, 255]).max() <= 3


def test_lab() -> None:
    lab = ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(CUBE), ImageCms.createProfile("sRGB"), lab, 1, "LAB")
    got = pixels(save(image, "TIFF"))
    assert np.abs(got - CUBE).mean() < 2  # 8 bits of Lab are coarse
    assert pixels(save(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")).min() >= 254


def png(image: Image.Image, *chunks: bytes) -> bytes:
    data = save(image, "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def test_gamma_and_chromaticities_of_png() -> None:
    image, levels = Image.fromarray(CUBE), CUBE / 255.0
    gamma = lambda value: chunk(b"gAMA", struct.pack(">I", value))  # noqa: E731
    chromaticities = chunk(b"cHRM", struct.pack(">8I", *(round(v * 100_000) for v in PRIMARIES[12])))
    assert np.abs(pixels(png(image, gamma(100_000))) - srgb(levels)).max() <= 1
    assert np.abs(pixels(png(image, gamma(55_556))) - srgb(levels**1.8)).max() <= 1
    assert np.array_equal(pixels(png(image, gamma(45_455))), CUBE)
    assert np.array_equal(pixels(png(image, gamma(100_000), chunk(b"sRGB", b"\0"))), CUBE)
    assert np.abs(pixels(png(image, chromaticities)) - from_p3(CUBE.astype(float))).max() <= 1
    assert np.abs(pixels(png(image, gamma(45_455), chromaticities)) - from_p3(CUBE.astype(float))).max() <= 1
    for odd in (
        gamma(1),
        gamma(0),
        gamma(4_000_000_000),
        chunk(b"cHRM", b"\0" * 32),
        chunk(b"cHRM", b"\xff" * 32),
    ):
        assert np.array_equal(pixels(png(image, odd)), CUBE)
    assert np.array_equal(pixels(png(image, chunk(b"tEXt", b"gamma\x001.0"))), CUBE)


def test_coded_colours_of_png() -> None:
    image = Image.fromarray(CUBE)
    coded = lambda *numbers: chunk(b"cICP", bytes([*numbers, 0, 1]))  # noqa: E731
    assert np.abs(pixels(png(image, coded(12, 13))) - from_p3(CUBE.astype(float))).max() <= 1
    linear_light = chunk(b"gAMA", struct.pack(">I", 100_000))
    assert np.array_equal(pixels(png(image, coded(1, 13), linear_light)), CUBE)
    for curve in (16, 18):
        with pytest.raises(BadImage, match="high dynamic range") as caught:
            pixels(png(image, coded(9, curve)))
        assert caught.value.reason == "unsupported-format"


def test_coded_colours_of_avif() -> None:
    data = save(Image.fromarray(np.tile(np.uint8([60, 200, 80]), (16, 16, 1))), "AVIF", quality=100)
    at = data.index(b"colrnclx") + 8
    wide = data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :]
    assert np.abs(pixels(data)[8, 8] - [60, 200, 80]).max() <= 3
    assert np.abs(pixels(wide)[8, 8] - from_p3(np.array([60.0, 200.0, 80.0]))).max() <= 4
    profiled = save(Image.fromarray(np.tile(np.uint8([60, 200, 80]), (16, 16, 1))), "AVIF", icc_profile=P3)
    assert np.abs(pixels(profiled)[8, 8] - from_p3(np.array([60.0, 200.0, 80.0]))).max() <= 6


def test_profile_of_jpeg_2000() -> None:
    data = save(Image.fromarray(CUBE), "JPEG2000")
    at, header = data.index(b"colr") - 4, data.index(b"jp2h") - 4
    old = int.from_bytes(data[at : at + 4])
    box = struct.pack(">I4s3B", 11 + len(P3), b"colr", 2, 0, 0) + P3
    longer = int.from_bytes(data[header : header + 4]) + len(box) - old
    wide = data[:header] + struct.pack(">I", longer) + data[header + 4 : at] + box + data[at + old :]
    assert np.abs(pixels(wide) - from_p3(CUBE.astype(float))).max() <= 1


def test_without_littlecms_a_profile_is_no_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL._imagingcms", None)
    data = save(Image.fromarray(CUBE), "PNG", icc_profile=P3)
    with pytest.raises(BadImage, match="LittleCMS") as caught:
        pixels(data)
    assert caught.value.reason == "unsupported-format"
    assert np.array_equal(pixels(data, keep_profile=True), CUBE)
    assert np.array_equal(pixels(save(Image.fromarray(CUBE), "PNG")), CUBE)


def test_a_profile_is_looked_at_once() -> None:
    _conversion.cache_clear()
    for _ in range(3):
        pixels(save(Image.fromarray(CUBE), "PNG", icc_profile=P3))
    assert (_conversion.cache_info().misses, _conversion.cache_info().hits) == (1, 2)
