"""Photographs for oracles to agree on, where ``VQCLI_TEST_ASSETS`` tells where they are."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vqcli.pixels import CenterCrop, jpeg, to_tensor

FOLDER = Path(os.environ.get("VQCLI_TEST_ASSETS", "nowhere"), "data", "imagenet-sample")


def photographs(count: int, side: int = 256) -> Tensor:
    """uint8 (count, 3, side, side), of different classes; skips the test where there are none."""
    if not FOLDER.is_dir():
        pytest.skip("VQCLI_TEST_ASSETS names no folder with photographs")
    paths = sorted(FOLDER.glob("*/*.JPEG"))
    chosen = paths[:: len(paths) // count][:count]
    cut, stream = CenterCrop((side, side)), np.random.default_rng
    return torch.stack([to_tensor(cut(Image.open(path).convert("RGB"), stream)) for path in chosen])


def worse(images: Tensor) -> Tensor:
    """The same as JPEG files of qualities from bad to good: what a reconstruction may look like."""
    qualities = np.linspace(3, 90, len(images)).astype(int).tolist()
    return torch.cat([jpeg(image[None], quality) for image, quality in zip(images, qualities)])
