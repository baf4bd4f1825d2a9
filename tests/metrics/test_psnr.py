import math

import numpy as np
import pytest
import torch

from tests.photographs import photographs, worse
from vqcli.metrics.psnr import Psnr, luma
from vqcli.pixels import normalize


def measure(images, reconstructions, **options):
    return Psnr(Psnr.Config(**options)).measure(images, reconstructions)


def drawn():
    """8-bit images, and reconstructions with more and more noise."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(0, 256, (3, 3, 9, 7), generator=generator, dtype=torch.uint8)
    noise = torch.randint(-9, 10, a.shape, generator=generator) * torch.tensor([1, 3, 9]).view(3, 1, 1, 1)
    return a, (a + noise).clamp(0, 255).to(torch.uint8)


def plain_luma(images):
    """BT.601 with studio swing in [0, 1], of uint8 images, as its matrix is printed."""
    r, g, b = images.double().div(255).unbind(1)
    return ((65.481 * r + 128.553 * g + 24.966 * b + 16) / 255)[:, None]


@pytest.mark.parametrize("channel", ["rgb", "y"])
def test_photographs_against_torchmetrics(channel):
    from torchmetrics.functional.image import peak_signal_noise_ratio as metric

    a = photographs(8)
    b = worse(a)
    x, y = (plain_luma(each) if channel == "y" else each.double() / 255 for each in (a, b))
    expected = [metric(p, q, data_range=1.0).item() for p, q in zip(y, x)]
    found = measure(normalize(a), normalize(b), channel=channel)
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
    assert 20 < found.min() < 30 < 35 < found.max() < 45


@pytest.mark.parametrize("channel", ["rgb", "y"])
def test_photographs_against_scikit_image(channel):
    from skimage.metrics import peak_signal_noise_ratio as metric

    a = photographs(4)
    b = worse(a)
    x, y = (plain_luma(each) if channel == "y" else each.double() / 255 for each in (a, b))
    expected = [metric(p.numpy(), q.numpy(), data_range=1) for p, q in zip(x, y)]
    assert measure(normalize(a), normalize(b), channel=channel).tolist() == pytest.approx(expected, abs=1e-5)


def test_eight_bit_images_against_whole_numbers():
    a, b = drawn()
    errors = ((a.numpy().astype(int) - b.numpy().astype(int)) ** 2).mean(axis=(1, 2, 3))
    expected = 10 * np.log10(255**2 / errors)
    assert measure(normalize(a), normalize(b)).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize(("channel", "values"), [("rgb", 3 * 4 * 5), ("y", 4 * 5)])
def test_equal_images_stay_finite(channel, values):
    """As if one value were off by one level."""
    black = torch.full((1, 3, 4, 5), -1.0)
    found = measure(black, black, channel=channel)
    assert found.tolist() == pytest.approx([10 * math.log10(255**2 * values)])
    one = black.clone()
    one[0, 0, 0, 0] = 1 / 127.5 - 1
    assert channel == "y" or measure(black, one).tolist() == pytest.approx(found.tolist())


def test_closed_forms():
    black, white = torch.full((1, 3, 4, 4), -1.0), torch.ones(1, 3, 4, 4)
    assert measure(black, white).tolist() == pytest.approx([0])
    assert measure(black, white, channel="y").tolist() == pytest.approx([20 * math.log10(255 / 219)])
    assert measure(black, black + 0.2).tolist() == pytest.approx([20])
    green = black.clone()
    green[:, 1] = 1
    assert measure(black, green).tolist() == pytest.approx([10 * math.log10(3)])
    assert measure(black, green, channel="y").tolist() == pytest.approx([20 * math.log10(255 / 128.553)])
    assert luma(torch.stack([white / 2 + 0.5, black / 2 + 0.5])[:, 0]).mul(255)[:, 0, 0, 0].tolist() == (
        pytest.approx([235, 16])
    )


def test_values_are_clamped_and_not_rounded():
    a, b = (normalize(each) for each in drawn())
    assert torch.equal(measure(a, 3 * b), measure(a, (3 * b).clamp(-1, 1)))
    grey = torch.zeros(1, 3, 50, 50)
    assert measure(grey, grey + 0.0003).tolist() == pytest.approx([-20 * math.log10(0.00015)])


def test_a_set_comes_to_the_mean_over_its_images():
    a, b = (normalize(each) for each in drawn())
    metric = Psnr(Psnr.Config())
    assert metric.result() == {}
    for part in ([2], [0, 1]):
        metric.observe(np.array(part), a[part], b[part])
    each = measure(a, b)
    assert metric.result() == {"psnr": pytest.approx(each.mean().item())}
    assert metric.state()["indices"].tolist() == [2, 0, 1]
    assert metric.state()["found"].tolist() == pytest.approx(each[[2, 0, 1]].tolist())
    assert len(set(each.tolist())) == 3


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="cannot be compared"):
        measure(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))
