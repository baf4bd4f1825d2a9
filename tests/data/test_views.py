"""Views: which crops, in which order, and that an image is decoded once for all of them."""

import pickle

import numpy as np
import pytest
from PIL import Image

from vqcli.data.images.base import Source
from vqcli.data.images.demo import DemoSource
from vqcli.data.images.views import Views
from vqcli.data.loader import eval_batches
from vqcli.errors import BadImage
from vqcli.pixels import CenterCrop
from vqcli.types import Sample


def coordinates(height, width):
    """An image whose pixels tell where they are: red is the column, green the row."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, 0 * x], axis=-1).astype(np.uint8))


class Pictures(Source):
    """Images of one size; counts how often each is decoded. The third is damaged."""

    def __init__(self, sides):
        self.classes, self.splits = ["a", "b"], ("train",)
        self.image, self.decoded = coordinates(*sides), []

    def __len__(self):
        return 4

    def key(self, i):
        return f"{i}.png"

    def label(self, i):
        return i % 2 if i else None

    def __getitem__(self, i):
        self.decoded.append(i)
        if i == 2:
            raise BadImage(self.key(i), "truncated")
        return Sample(self.image, self.label(i), self.key(i))


def corners(image):
    """(column, row) of the first and the last pixel."""
    pixels = np.array(image)
    return tuple(pixels[0, 0, :2].tolist()), tuple(pixels[-1, -1, :2].tolist())


def test_the_centre_and_its_mirror_image():
    views = Views(Pictures((8, 12)), (8, 8))
    assert (len(views), views.views) == (8, 2)
    assert corners(views[0].image) == ((2, 0), (9, 7))
    assert corners(views[1].image) == ((9, 0), (2, 7))
    assert views.preprocessing == "resize (bicubic) and centre crop to 8x8, also mirrored"


@pytest.mark.parametrize(
    ("size", "crop_range", "cover", "centre"),
    [
        ((10, 20), 1.3, (13, 26), (2, 3)),  # half of 3 is 2: to the even side, as half of 5 and of 25 are
        ((20, 100), 1.25, (25, 125), (2, 12)),
        ((10, 10), 1.1, (11, 11), (0, 0)),
        ((6, 6), 1.0, (6, 6), (0, 0)),
    ],
)
def test_ten_crops_in_torchvisions_order(size, crop_range, cover, centre):
    views = Views(Pictures(cover), size, crop_range)
    (height, width), (h, w), (top, left) = cover, size, centre
    assert (len(views), views.views, views.cover) == (40, 10, cover)
    places = [(0, 0), (0, width - w), (height - h, 0), (height - h, width - w), (top, left)]
    for view, (y, x) in enumerate(places):
        assert corners(views[view].image) == ((x, y), (x + w - 1, y + h - 1))
        mirrored = width - 1 - x
        assert corners(views[5 + view].image) == ((mirrored, y), (mirrored - w + 1, y + h - 1))
    assert views.preprocessing == (
        f"resize (bicubic) and centre crop to {height}x{width}, ten crops of {h}x{w}"
    )


@pytest.mark.parametrize("crop_range", [None, 1.1, 1.05])
def test_views_are_cut_from_the_centre_crop_and_need_no_other(crop_range):
    source = DemoSource(3, (40, 52))
    views = Views(source, (32, 24), crop_range)
    cover = (32, 24) if crop_range is None else (int(32 * crop_range), int(24 * crop_range))
    whole = CenterCrop(cover)(source[1].image, np.random.default_rng)
    assert np.array_equal(views[views.views].image, whole.crop((0, 0, 24, 32)))
    for i in range(len(views)):
        image = views[i].image
        assert np.array_equal(CenterCrop((32, 24))(image, np.random.default_rng), image)


def test_a_view_is_an_item_of_its_own():
    views = Views(Pictures((8, 8)), (8, 8))
    assert [views.key(i) for i in range(4)] == ["0.png#0", "0.png#1", "1.png#0", "1.png#1"]
    assert [views.label(i) for i in range(8)] == [None, None, 1, 1, 0, 0, 1, 1]
    assert (views[3].key, views[3].label) == ("1.png#1", 1)
    assert (views.classes, views.splits) == (["a", "b"], ("train",))
    with pytest.raises(BadImage, match=r"^2\.png: truncated$"):
        views[5]


def test_an_image_is_decoded_once_for_its_views():
    source = Pictures((12, 12))
    views = Views(source, (8, 8), 1.2)
    batches = list(eval_batches(views, np.arange(20), CenterCrop((8, 8)), 4))
    assert source.decoded == [0, 1]
    assert [batch.keys[0] for batch in batches] == ["0.png#0", "0.png#4", "0.png#8", "1.png#2", "1.png#6"]
    views[19]
    assert source.decoded == [0, 1]
    sent = pickle.loads(pickle.dumps(views))  # what a worker gets has no image in memory
    assert sent[19].key == "1.png#9"
    assert sent.source.decoded == [0, 1, 1]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(num_workers):
    views = Views(DemoSource(5, (16, 16)), (12, 12), 1.1)
    alone, others = (
        list(eval_batches(views, np.arange(50), CenterCrop((12, 12)), 7, workers))
        for workers in (0, num_workers)
    )
    for a, b in zip(alone, others, strict=True):
        assert a.keys == b.keys
        assert np.array_equal(a.stacked(), b.stacked())
