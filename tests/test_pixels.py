import io
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from tests.images import picture
from vqcli.pixels import (
    CenterCrop,
    CentreCut,
    Flip,
    NativeCrop,
    RandomCrop,
    SmallestSide,
    TooSmall,
    contact_sheet,
    crop,
    jpeg,
    normalize,
    on_device,
    to_pil,
    to_tensor,
    to_uint8,
)


def still() -> np.random.Generator:
    """For what draws nothing."""
    raise AssertionError("a stream was made")


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_uint8_round_trip() -> None:
    levels = torch.arange(256, dtype=torch.uint8).expand(2, 3, 1, 256)
    floats = normalize(levels)
    assert floats.dtype == torch.float32
    assert floats.min() == -1
    assert floats.max() == 1
    assert torch.equal(to_uint8(floats), levels)
    assert to_uint8(torch.tensor([-7.0, 7.0, 0.0, 0.003])).tolist() == [0, 255, 128, 128]


def test_ways_to_round() -> None:
    levels = torch.tensor([-0.5, 0.0, 0.2, 0.5, 0.8, 100.2, 100.5, 101.5, 254.8, 255.7])
    images = levels / 127.5 - 1
    assert to_uint8(images, "nearest").tolist() == [0, 0, 0, 0, 1, 100, 100, 102, 255, 255]
    assert to_uint8(images, "truncate").tolist() == [0, 0, 0, 0, 0, 100, 100, 101, 254, 255]
    assert to_uint8(images, "truncate_128").tolist() == [0, 0, 0, 1, 1, 100, 101, 102, 255, 255]
    with pytest.raises(ValueError, match="8 bits"):
        to_uint8(images, "none")


def test_jpeg_is_what_pillow_writes() -> None:
    images = torch.stack([to_tensor(Image.fromarray(picture(24, 40))), to_tensor(noise(24, 40))])
    for options in ({}, {"quality": 30}):
        expected = []
        for image in images:
            file = io.BytesIO()
            to_pil(image).save(file, "JPEG", **options)  # 75 if nobody says otherwise
            expected.append(np.array(Image.open(file)))
        found = jpeg(images, **options)
        assert found.dtype == torch.uint8
        assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), np.stack(expected))
    assert (found != images).any()


def test_pil_round_trip() -> None:
    tensor = to_tensor(Image.fromarray(picture(5, 7)))
    assert tensor.shape == (3, 5, 7)
    assert tensor.is_contiguous()
    assert np.array_equal(np.array(to_pil(tensor)), picture(5, 7))
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), picture(5, 7))


def test_a_gpu_fetches_from_pinned_memory_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def to(self: torch.Tensor, device: torch.device, non_blocking: bool = False) -> torch.Tensor:
        asked.append((device.type, non_blocking))
        return self

    images = torch.arange(48, dtype=torch.uint8).view(1, 3, 4, 4)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: asked.append("pinned") or self)
    monkeypatch.setattr(torch.Tensor, "to", to)
    for device in ("cuda", "cpu"):
        assert torch.equal(on_device(images, torch.device(device)), normalize(images))
    assert asked == ["pinned", ("cuda", True), ("cpu", False)]


def test_contact_sheet() -> None:
    images = torch.zeros(5, 3, 4, 6, dtype=torch.uint8)
    sheet = np.array(contact_sheet(images, 3))
    assert sheet.shape == (2 * 4 + 2, 3 * 6 + 4, 3)
    assert (sheet == 0).all(axis=-1).sum() == 5 * 4 * 6
    assert (sheet[4:6] == 255).all()


def adm_center_crop(image: Image.Image, side: int) -> Image.Image:
    """The published formula for squares, plainly."""
    while min(image.size) >= 2 * side:
        image = image.resize((image.size[0] // 2, image.size[1] // 2), resample=Image.Resampling.BOX)
    scale = side / min(image.size)
    image = image.resize(
        (round(image.size[0] * scale), round(image.size[1] * scale)), Image.Resampling.BICUBIC
    )
    pixels = np.array(image)
    y, x = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return Image.fromarray(pixels[y : y + side, x : x + side])


@pytest.mark.parametrize(
    "shape", [(32, 32), (20, 31), (33, 50), (64, 64), (131, 201), (200, 70), (16, 60), (257, 300)]
)
def test_center_crop_is_adm(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    expected = np.array(adm_center_crop(image, 32))
    assert np.array_equal(np.array(CenterCrop((32, 32))(image, still)), expected)


def padded_centre(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What torchvision's CenterCrop is documented to do: black around, the odd pixel below; then cut."""
    for axis, wanted in enumerate(size):
        missing = max(wanted - pixels.shape[axis], 0)
        pixels = np.pad(
            pixels, [(missing // 2, (missing + 1) // 2) if a == axis else (0, 0) for a in range(3)]
        )
        start = round((pixels.shape[axis] - wanted) / 2)
        pixels = pixels.take(range(start, start + wanted), axis)
    return pixels


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (8, 5)])
def test_centre_cut_is_torchvisions(size: tuple[int, int]) -> None:
    for height in (*range(4, 13), 31):
        for width in (*range(4, 13), 32):
            image = noise(height, width)
            got = np.array(CentreCut(size)(image, still))
            assert np.array_equal(got, padded_centre(np.array(image), size)), (height, width)


def test_centre_cut_of_a_ramp() -> None:
    """Of three pixels to spare two go above; of three that lack one is above."""
    ramp = Image.fromarray(np.arange(1, 12, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(3, 2))
    assert np.array(CentreCut((8, 2))(ramp, still))[:, 0, 0].tolist() == list(range(3, 11))
    assert np.array(CentreCut((14, 2))(ramp, still))[:, 0, 0].tolist() == [0, *range(1, 12), 0, 0]


def bilinear(pixels: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """Between the two nearest pixels of each axis, centres half a pixel in, without antialiasing."""
    for axis, side in enumerate(sides):
        length = pixels.shape[axis]
        at = ((np.arange(side) + 0.5) * length / side - 0.5).clip(0, length - 1)
        low = at.astype(int)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        above = pixels.take((low + 1).clip(max=length - 1), axis)
        pixels = pixels.take(low, axis) * (1 - share) + above * share
    return pixels


@pytest.mark.parametrize("shape", [(32, 32), (20, 31), (33, 50), (131, 67), (16, 60), (257, 300)])
def test_smallest_side_is_bilinear(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    scale = 32 / min(shape)
    height, width = round(shape[0] * scale), round(shape[1] * scale)
    top, left = (height - 32) // 2, (width - 32) // 2
    expected = bilinear(np.array(image).astype(float), (height, width))[top : top + 32, left : left + 32]
    got = np.array(SmallestSide((32, 32))(image, still))
    assert got.shape == (32, 32, 3)
    assert np.abs(got - expected).max() < 0.501


def test_protocols_crop_by_name() -> None:
    size = (8, 8)
    assert crop("adm", size) == CenterCrop(size)
    assert crop("centre", size) == CentreCut(size)
    assert crop("smallest_side", size) == SmallestSide(size)
    image = noise(20, 30)
    cuts = [np.array(crop(name, size)(image, still)) for name in ("adm", "centre", "smallest_side")]
    assert all(cut.shape == (8, 8, 3) for cut in cuts)
    assert not any(np.array_equal(cuts[i], cuts[i - 1]) for i in range(3))


def test_center_crop_covers_other_shapes() -> None:
    for shape in ((10, 90), (90, 10), (300, 200), (7, 7)):
        for cover in (CenterCrop, CentreCut, SmallestSide):
            assert cover((24, 48))(noise(*shape), still).size == (48, 24)


def test_long_thin_images_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The part of the long resized image that is kept, without ever making all of it."""
    made = []
    resize = Image.Image.resize

    def recording(self: Image.Image, size: tuple[int, int], *args: object, **kwargs: object) -> Image.Image:
        made.append(size[0] * size[1])
        return resize(self, size, *args, **kwargs)  # type: ignore[arg-type]

    for shape in ((8, 256), (256, 8), (40, 1240)):
        image = Image.fromarray(picture(*shape))
        expected = np.array(adm_center_crop(image, 64)).astype(int)
        monkeypatch.setattr(Image.Image, "resize", recording)
        for transform in (CenterCrop((64, 64)), RandomCrop((64, 64), flip=True)):
            transform(image, np.random.default_rng)
        got = np.array(CenterCrop((64, 64))(image, still)).astype(int)
        monkeypatch.undo()
        assert max(made) <= 4 * 64 * 64
        assert np.abs(got - expected).max() <= 1


def test_random_crop_is_a_cut_of_a_resized_image() -> None:
    image = noise(80, 100)
    resized = {}
    for side in range(32, 41):
        height, width = side, round(100 * (side / 80))
        source = image.resize((50, 40), Image.Resampling.BOX) if side <= 40 else image
        resized[side] = np.array(source.resize((width, height), Image.Resampling.BICUBIC))
    sides, lefts = set(), set()
    for seed in range(60):
        got = np.array(RandomCrop((32, 32), flip=False)(image, partial(np.random.default_rng, seed)))
        side, left = find(got, resized)
        sides.add(side)
        lefts.add(left)
    assert sides == set(range(32, 41))
    assert len(lefts) > 6


def test_random_crop_without_scaling_covers_and_cuts_anywhere() -> None:
    image = noise(80, 100)
    resized = {
        32: np.array(image.resize((50, 40), Image.Resampling.BOX).resize((40, 32), Image.Resampling.BICUBIC))
    }
    crop = RandomCrop((32, 32), flip=False, largest=1)
    lefts = {
        find(np.array(crop(image, partial(np.random.default_rng, seed))), resized)[1] for seed in range(40)
    }
    assert lefts == set(range(9))


def find(cut: np.ndarray, resized: dict[int, np.ndarray]) -> tuple[int, int]:
    for side, pixels in resized.items():
        windows = np.lib.stride_tricks.sliding_window_view(pixels, cut.shape)[:, :, 0]
        hits = np.argwhere((windows == cut).all(axis=(2, 3, 4)))
        if len(hits):
            return side, int(hits[0][1])
    raise AssertionError("not a cut of any resized image")


def test_flips() -> None:
    image = noise(32, 32)
    plain = np.array(image)
    outcomes = [np.array(Flip((32, 32))(image, partial(np.random.default_rng, seed))) for seed in range(40)]
    mirrored = [np.array_equal(got, plain[:, ::-1]) for got in outcomes]
    assert all(flip or np.array_equal(got, plain) for got, flip in zip(outcomes, mirrored))
    assert 8 < sum(mirrored) < 32


def test_random_crop_of_other_shapes() -> None:
    for shape in ((10, 90), (50, 40), (200, 300)):
        for seed in range(5):
            image = RandomCrop((24, 48), flip=True)(noise(*shape), partial(np.random.default_rng, seed))
            assert image.size == (48, 24)


def test_native_crop() -> None:
    image = noise(37, 50)
    got = np.array(NativeCrop(16)(image, still))
    assert np.array_equal(got, np.array(image)[2:34, 1:49])
    with pytest.raises(TooSmall, match="15x40"):
        NativeCrop(16)(noise(15, 40), still)
