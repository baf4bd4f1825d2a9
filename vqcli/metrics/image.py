"""How far reconstructions are from their images, pixel by pixel and by a network's features."""

from __future__ import annotations

import torch
from torch import Tensor

from vqcli.nn.lpips import Lpips
from vqcli.pixels import normalize


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibels, (B,), on the CPU.

    Protocol: values in [0, 255], rounded to whole numbers, as an 8-bit image holds them; the peak is 255; one
    mean squared error an image, over its channels and pixels. A set's PSNR is the mean over its images (the
    PSNR of the mean error is lower). Equal images count as if one value were off by one: means stay finite.
    ``a`` and ``b`` are (B, C, H, W), uint8 or float. Raises ValueError on unequal shapes.
    """
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(f"images of shape {tuple(a.shape)} cannot be compared to {tuple(b.shape)}")
    difference = a.cpu().double().round() - b.cpu().double().round()
    errors = difference.square().mean(dim=(1, 2, 3)).clamp(min=1 / difference[0].numel())
    return 10 * torch.log10(255**2 / errors)


@torch.no_grad()
def lpips(network: Lpips, a: Tensor, b: Tensor) -> Tensor:
    """LPIPS 0.1 distance of each pair of images, (B,), on the CPU; 0 for equal images, lower is nearer.

    Protocol: values in [0, 255], rounded to whole numbers, as an 8-bit image holds them, then x / 127.5 - 1;
    images at the size they have; no dropout. A set's LPIPS is the mean over its images. Numbers of VGG and of
    AlexNet cannot be compared.
    ``a`` and ``b`` are (B, 3, H, W), uint8 or float. Raises ValueError on unequal shapes, and on images too
    small for the network.
    """
    device, training = network.shift.device, network.training
    network.eval()
    try:
        distances = network(*(normalize(images.to(device).float().round()) for images in (a, b)))
    finally:
        network.train(training)
    return distances.cpu()
