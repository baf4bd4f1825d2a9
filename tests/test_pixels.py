import numpy as np
import pytest
import torch
from PIL import Image

from tests.images import picture
from vqcli.pixels import (
    CenterCrop,
    Flip,
    NativeCrop,
    RandomCrop,
    TooSmall,
    contact_sheet,
    normalize,
    to_pil,
    to_tensor,
    to_uint8,
)

RNG = np.random.default_rng(0)


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


def test_pil_round_trip() -> None:
    tensor = to_tensor(Image.fromarray(picture(5, 7)))
    assert tensor.shape == (3, 5, 7)
    assert tensor.is_contiguous()
    assert np.array_equal(np.array(to_pil(tensor)), picture(5, 7))


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
    assert np.array_equal(np.array(CenterCrop((32, 32))(image, RNG)), expected)


def test_center_crop_covers_other_shapes() -> None:
    for shape in ((10, 90), (90, 10), (300, 200), (7, 7)):
        assert CenterCrop((24, 48))(noise(*shape), RNG).size == (48, 24)


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
            transform(image, RNG)
        got = np.array(CenterCrop((64, 64))(image, RNG)).astype(int)
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
        got = np.array(RandomCrop((32, 32), flip=False)(image, np.random.default_rng(seed)))
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
    lefts = {find(np.array(crop(image, np.random.default_rng(seed))), resized)[1] for seed in range(40)}
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
    outcomes = [np.array(Flip((32, 32))(image, np.random.default_rng(seed))) for seed in range(40)]
    mirrored = [np.array_equal(got, plain[:, ::-1]) for got in outcomes]
    assert all(flip or np.array_equal(got, plain) for got, flip in zip(outcomes, mirrored))
    assert 8 < sum(mirrored) < 32


def test_random_crop_of_other_shapes() -> None:
    for shape in ((10, 90), (50, 40), (200, 300)):
        for seed in range(5):
            image = RandomCrop((24, 48), flip=True)(noise(*shape), np.random.default_rng(seed))
            assert image.size == (48, 24)


def test_native_crop() -> None:
    image = noise(37, 50)
    got = np.array(NativeCrop(16)(image, RNG))
    assert np.array_equal(got, np.array(image)[2:34, 1:49])
    with pytest.raises(TooSmall, match="15x40"):
        NativeCrop(16)(noise(15, 40), RNG)
