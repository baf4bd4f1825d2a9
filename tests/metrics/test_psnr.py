import math

import pytest
import torch

from vqcli.metrics.image import psnr


def images():
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(0, 256, (3, 3, 9, 7), generator=generator, dtype=torch.uint8)
    noise = torch.randint(-9, 10, a.shape, generator=generator) * torch.tensor([1, 3, 9]).view(3, 1, 1, 1)
    return a, (a + noise).clamp(0, 255).to(torch.uint8)


def test_against_torchmetrics():
    metric = pytest.importorskip("torchmetrics.functional.image").peak_signal_noise_ratio
    a, b = images()
    expected = [metric(x[None].float(), y[None].float(), data_range=255.0) for x, y in zip(a, b)]
    torch.testing.assert_close(psnr(a, b).float(), torch.stack(expected))


def test_closed_forms():
    black = torch.zeros(1, 3, 4, 4)
    off_by_one = black.clone()
    off_by_one[0, 0, 0, 0] = 1
    assert psnr(black, black).tolist() == psnr(black, off_by_one).tolist()  # finite
    assert psnr(black, black + 255).tolist() == pytest.approx([0])
    assert psnr(black, black + 25.5).tolist() == pytest.approx([20 * math.log10(255 / 26)])
    assert psnr(black + 25.5, black).tolist() == pytest.approx([20 * math.log10(255 / 26)])
    assert psnr(black, black + 0.4).tolist() == psnr(black, black).tolist()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="cannot be compared"):
        psnr(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))
