"""Resizing to the 299 pixels a side of the FID Inception network, as tools that compute FID do it.

Nothing is rounded to 8 bits. The shape of images is not kept: they are squeezed into the square.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 299
"""Pixels a side that the network sees."""


def resize_tensorflow(images: Tensor, size: int = SIDE) -> Tensor:
    """Bilinear as in TensorFlow 1, which ADM and torch-fidelity have: float32 (B, C, H, W), in any range.

    Row i lies at i H / size between two rows of the image: no half pixels, and no smoothing.
    """
    for dim in (2, 3):
        n = images.shape[dim]
        if n == size:
            continue
        place = torch.arange(size, device=images.device, dtype=torch.float32) * (n / size)
        below = place.long()
        above = (below + 1).clamp(max=n - 1)
        weight = (place - below).view(-1, 1) if dim == 2 else place - below
        images = torch.lerp(images.index_select(dim, below), images.index_select(dim, above), weight)
    return images


def resize_clean(images: Tensor, size: int = SIDE) -> Tensor:
    """Bicubic and antialiased as in clean-fid (Parmar et al., arXiv:2104.11222): float32 in [0, 255].

    What Pillow makes of each channel (B, C, H, W) as 32-bit floats, cut off at 0 and 255.
    """
    if images.shape[2:] == (size, size):
        return images
    # in float32 torch's weights are off by up to 0.006 of 255 from Pillow's, whose weights are float64
    home = torch.device("cpu") if images.device.type == "mps" else images.device  # which has no float64
    exact = F.interpolate(
        images.to(home, torch.float64), (size, size), mode="bicubic", align_corners=False, antialias=True
    )
    return exact.clamp(0, 255).to(images)
