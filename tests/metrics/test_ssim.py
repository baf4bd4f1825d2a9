import math

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from tests.perceptual import drawn_images
from tests.photographs import photographs, worse
from vqcli.metrics.ssim import Ssim
from vqcli.pixels import normalize

AWAY = np.arange(-5, 6)
WINDOWS = {
    "gaussian": (np.exp(-(AWAY[:, None] ** 2 + AWAY**2) / (2 * 1.5**2)), 1),
    "uniform": (np.ones((7, 7)), 49 / 48),
}
"""Weights of the pixels, and what makes a sample's covariance of a population's."""
FORMS = [(window, data_range) for window in WINDOWS for data_range in (1, 2)]


def measure(images, reconstructions, **options):
    return Ssim(Ssim.Config(**options)).measure(images, reconstructions)


def pair(side=24, batch=3):
    """Images, and reconstructions that have something of them."""
    images = drawn_images(side, batch=batch)
    return images, (0.7 * images + 0.4 * drawn_images(side, seed=2, batch=batch)).clamp(-1, 1)


def slow(images, reconstructions, window, data_range):
    """The definition, window by window in float64, of images in [-1, 1]."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    weights, factor = WINDOWS[window]

    def mean(values):
        return (values * weights / weights.sum()).sum(axis=(-1, -2), keepdims=True)

    unit = [(each.double().numpy() + 1) / 2 for each in (images, reconstructions)]
    x, y = (sliding_window_view(each, weights.shape, (2, 3)) for each in unit)
    mean_x, mean_y = mean(x), mean(y)
    variances = factor * mean((x - mean_x) ** 2) + factor * mean((y - mean_y) ** 2)
    covariance = factor * mean((x - mean_x) * (y - mean_y))
    brightness = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return (brightness * structure).mean(axis=(1, 2, 3, 4, 5)).tolist()


@pytest.mark.parametrize(("window", "data_range"), FORMS)
def test_against_the_definition(window, data_range):
    x, y = pair()
    found = measure(x[..., :20], y[..., :20], window=window, data_range=data_range)
    assert found.tolist() == pytest.approx(slow(x[..., :20], y[..., :20], window, data_range), abs=1e-6)
    assert 0.5 < found.min() < found.max() < 0.95
    assert (found.dtype, found.shape) == (torch.float64, (3,))


@pytest.mark.parametrize("data_range", [1, 2])
def test_photographs_against_torchmetrics(data_range):
    """Its map without the positions whose windows reach over the border: there it reflects images."""
    from torchmetrics.functional.image import structural_similarity_index_measure as metric

    a = photographs(5, 160)
    x, y = normalize(a), normalize(worse(a))
    unit = [(each.double() + 1) / 2 for each in (x, y)]
    _, maps = metric(*unit, data_range=float(data_range), return_full_image=True)
    expected = maps[..., 5:-5, 5:-5].mean(dim=(1, 2, 3)).tolist()
    assert measure(x, y, data_range=data_range).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("window", "data_range"), FORMS)
def test_photographs_against_scikit_image(window, data_range):
    from skimage.metrics import structural_similarity as metric

    a = photographs(5, 160)
    x, y = normalize(a), normalize(worse(a))
    gaussian = {"gaussian_weights": True, "use_sample_covariance": False, "sigma": 1.5}
    options = {"channel_axis": 0, "data_range": data_range} | (gaussian if window == "gaussian" else {})
    unit = [((each.double() + 1) / 2).numpy() for each in (x, y)]
    expected = [metric(*each, **options) for each in zip(*unit)]
    found = measure(x, y, window=window, data_range=data_range)
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("level", [0, 10, 128, 254])
def test_float32_suffices_where_images_are_flat(window, level):
    """Variances are small differences of large numbers there."""
    noise = torch.randint(0, 2, (1, 3, 40, 40), generator=torch.Generator().manual_seed(0))
    x, y = (normalize((level + each).to(torch.uint8)) for each in (torch.zeros_like(noise), noise))
    assert measure(x, y, window=window).tolist() == pytest.approx(slow(x, y, window, 1), abs=1e-5)


@pytest.mark.parametrize("window", WINDOWS)
def test_closed_forms(window):
    x, y = pair()
    assert measure(x, x, window=window).tolist() == [1, 1, 1]
    c1 = 0.01**2
    black, grey, white = (torch.full((1, 3, 11, 11), level) for level in (-1.0, 0.0, 1.0))
    assert measure(black, white, window=window).tolist() == pytest.approx([c1 / (1 + c1)], abs=1e-6)
    assert measure(grey, white, window=window).tolist() == pytest.approx([(1 + c1) / (1.25 + c1)], abs=1e-6)
    assert measure(x, -x, window=window).max() < -0.8  # the negative
    assert (measure(x, y, window=window, data_range=2) > measure(x, y, window=window)).all()
    assert torch.equal(measure(x, 3 * y, window=window), measure(x, (3 * y).clamp(-1, 1), window=window))


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(40, 90, 1), (383, 400, 1), (385, 400, 2), (640, 700, 2)]
)
def test_large_images_are_made_smaller_where_that_is_asked_for(height, width, factor):
    images = drawn_images(700, batch=1)[..., :height, :width]
    x, y = images, (images.flip(2) * 0.3 + images * 0.7)
    small = [each[..., : height // factor * factor, : width // factor * factor] for each in (x, y)]
    means = [each.unflatten(3, (-1, factor)).unflatten(2, (-1, factor)).mean(dim=(3, 5)) for each in small]
    found = measure(x, y, downsample=True)
    torch.testing.assert_close(found, measure(*means), rtol=1e-5, atol=0)
    assert math.isclose(found.item(), measure(x, y).item(), rel_tol=1e-5) == (factor == 1)


@pytest.mark.parametrize(("window", "side"), [("gaussian", 11), ("uniform", 7)])
def test_images_need_the_size_of_a_window(window, side):
    x, y = pair()
    metric = Ssim(Ssim.Config(window=window))
    assert metric.smallest == side
    assert metric.measure(x[..., :side, :side], y[..., :side, :side]).isfinite().all()
    with pytest.raises(ValueError, match=f"24x{side - 1} pixels: SSIM needs {side}x{side}"):
        metric.measure(x[..., : side - 1], y[..., : side - 1])
    with pytest.raises(ValueError, match="cannot be compared"):
        metric.measure(x, y[..., :-1])
