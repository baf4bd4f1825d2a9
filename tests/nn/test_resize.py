"""Resizing for the FID network against its formulas, pixel by pixel, and against Pillow."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from vqcli.nn.resize import resize_clean, resize_tensorflow

SHAPES = [(32, 32), (17, 40), (140, 180), (299, 64), (320, 301), (500, 375), (1, 3), (3, 1)]


def drawn(height, width, channels=2, batch=2):
    generator = np.random.default_rng(height * 1000 + width)
    return torch.from_numpy(generator.integers(0, 256, (batch, channels, height, width)).astype(np.float32))


def slow_row(row, size):
    """One row of pixels, TensorFlow 1's way."""
    found = []
    for i in range(size):
        place = i * len(row) / size
        below = math.floor(place)
        above = min(below + 1, len(row) - 1)
        found.append(row[below] + (row[above] - row[below]) * (place - below))
    return np.array(found)


def slow_tensorflow(plane, size):
    wide = np.stack([slow_row(row, size) for row in plane])
    return np.stack([slow_row(column, size) for column in wide.T]).T


@pytest.mark.parametrize("size", [7, 11, 13])
@pytest.mark.parametrize("shape", [(5, 7), (13, 7), (20, 33), (1, 2)])
def test_tensorflow_by_pixels(shape, size):
    images = drawn(*shape)
    found = resize_tensorflow(images, size)
    assert found.shape == (2, 2, size, size)
    for planes, got in zip(images.double().numpy(), found.numpy()):
        for plane, one in zip(planes, got):
            np.testing.assert_allclose(one, slow_tensorflow(plane, size), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shape", [(32, 32), (140, 180), (500, 375)])
def test_tensorflow_at_the_network_s_size(shape):
    images = drawn(*shape, channels=1, batch=1)
    found = resize_tensorflow(images)[0, 0].numpy()
    want = slow_tensorflow(images[0, 0].double().numpy(), 299)
    np.testing.assert_allclose(found, want, rtol=0, atol=0.02)  # positions are float32 in TensorFlow too


def test_tensorflow_has_no_half_pixels():
    """Doubled, every second pixel is a pixel of the image, and the last one stands twice."""
    found = resize_tensorflow(torch.tensor([[[[0.0, 100.0], [200.0, 40.0]]]]), 4)
    assert found[0, 0].tolist() == [
        [0, 50, 100, 100],
        [100, 85, 70, 70],
        [200, 120, 40, 40],
        [200, 120, 40, 40],
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_clean_is_pillow_s(shape):
    images = drawn(*shape)
    found = resize_clean(images)
    assert found.dtype == torch.float32
    for channels, got in zip(images.numpy(), found.numpy()):
        for plane, one in zip(channels, got):
            want = Image.fromarray(plane).resize((299, 299), Image.Resampling.BICUBIC)
            np.testing.assert_allclose(one, np.asarray(want).clip(0, 255), rtol=0, atol=1e-4)


def test_clean_stays_in_range_and_is_not_rounded():
    found = resize_clean(255.0 * (drawn(32, 32) > 127))
    assert (found.min(), found.max()) == (0, 255)
    assert (found % 1 > 0).any()


@pytest.mark.parametrize("resize", [resize_tensorflow, resize_clean])
def test_images_of_that_size_stay(resize):
    images = drawn(299, 299)
    assert torch.equal(resize(images), images)
