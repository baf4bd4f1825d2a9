"""LPIPS: how far apart two images are, by the features of a network that was trained on ImageNet.

Paper: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
https://arxiv.org/abs/1801.03924, section 3; heads of version 0.1. Weights are those of torchvision.
Shape letters: B images, C channels, H, W sides in pixels, h, w sides of features.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from vqcli.nn.frozen import checked, settle

Backbone = Literal["vgg", "alex"]
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of red, green and blue: ImageNet's means and deviations, for pixels in [-1, 1]."""
TAPS = {"vgg": (3, 8, 15, 22, 29), "alex": (1, 4, 7, 9, 11)}
"""ReLUs in ``features`` whose outputs are compared: VGG16's 1_2, 2_2, 3_3, 4_3, 5_3, and AlexNet's five."""
CHANNELS = {"vgg": (64, 128, 256, 512, 512), "alex": (64, 192, 384, 256, 256)}
SMALLEST = {"vgg": 16, "alex": 31}
"""Pixels a side at which the last tap is one pixel."""


EPS = 1e-10
"""Added to the length of a feature vector, as LPIPS is defined."""


class Lpips(nn.Module):
    """Distances of images (B, 3, H, W) in [-1, 1]. Frozen; every weight is NaN until it is loaded.

    Features are computed in the autocast that stands around, everything after them in float32.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Backbone = "vgg", *, eps: float = EPS, dropout: float = 0.5) -> None:
        """``eps`` is added to the length of a feature vector.

        ``dropout`` is the share of squared differences left out in training mode, as in published training.
        """
        super().__init__()
        self.net: Backbone = net
        self.eps = eps
        home = torch.get_default_device()
        with torch.device("meta"):  # draws no numbers: what else is built keeps its seed
            self.features = _vgg16() if net == "vgg" else _alexnet()
            for k, channels in enumerate(CHANNELS[net]):
                self.add_module(f"lin{k}", _Head(channels, dropout))
        settle(self, home)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)

    @property
    def name(self) -> str:
        """What the network with its heads is called: lpips-vgg or lpips-alex."""
        return f"lpips-{self.net}"

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (B,) of ``a`` and ``b``. Raises ValueError if they differ in shape or are too small."""
        return self.per_layer(a, b).sum(0)

    def per_layer(self, a: Tensor, b: Tensor) -> Tensor:
        """What each of the five layers adds to the distances, (5, B). Raises ValueError as ``forward``."""
        if a.shape != b.shape or a.ndim != 4:
            raise ValueError(f"images of shape {tuple(a.shape)} cannot be compared to {tuple(b.shape)}")
        height, width = a.shape[2:]
        if min(height, width) < (least := SMALLEST[self.net]):
            raise ValueError(f"images of {height}x{width} pixels: {self.name} needs {least}x{least}")
        layers = []
        for k, (of_a, of_b) in enumerate(zip(self._taps(a), self._taps(b))):
            difference = self._unit(of_a) - self._unit(of_b)
            layers.append(self.get_submodule(f"lin{k}")(difference.square()))
        return torch.stack(layers)

    def _taps(self, images: Tensor) -> Iterator[Tensor]:
        x = (images.float() - self.shift) / self.scale
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in TAPS[self.net]:
                yield x

    def _unit(self, features: Tensor) -> Tensor:
        """Vectors over channels, each divided by its length, in float32."""
        features = features.float()  # and nothing from here on is what autocast would change
        return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + self.eps)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take weights by the keys of torchvision (``features.0.weight``), or of LPIPS's own package.

        Heads are ``lin0.model.1.weight`` or ``lins.0.model.1.weight``; other keys are passed over. A network
        on the meta device takes none. Raises VqcliError that names the first key that lacks or does not fit.
        """
        own = self.state_dict()
        if self.shift.is_meta:
            return
        found = {_published(key): tensor for key, tensor in state.items()}
        hint = f"net: {self.net} needs those of {self.name}: torchvision's features, LPIPS's heads 0.1"
        self.load_state_dict(checked(self.name, found, own, hint))


class _Head(nn.Module):
    """Weighs channels and averages over positions: squared differences (B, C, h, w) -> (B,)."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        # the published keys count a dropout before the convolution
        self.model = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, squares: Tensor) -> Tensor:
        dropout, convolution = self.model
        # the convolution and the mean over positions change places: (B, C, h, w) is not weighed, (B, C) is
        return (dropout(squares).mean(dim=(2, 3)) * convolution.get_parameter("weight").flatten()).sum(1)


def _published(key: str) -> str:
    """A key as torchvision and version 0.1's files have it; the package's network is cut into slices."""
    key = re.sub(r"^net\.slice\d+\.", "features.", key)
    return re.sub(r"^lins\.(\d+)\.", r"lin\1.", key)


def _vgg16() -> nn.Sequential:
    """VGG16's layers up to its last ReLU, by torchvision's indices; 0 stands for pooling."""
    layers: list[nn.Module] = []
    before = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512):
        if width:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
            before = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _alexnet() -> nn.Sequential:
    """AlexNet's layers up to its last ReLU, by torchvision's indices."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
    )
