"""A network like the FID Inception network, a thousand times smaller: for tests of what features are for."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vqcli.nn.inception import InceptionFeatures


class TinyInception(nn.Module):
    """Eight pooled features, twelve spatial ones, five classes; its own weights are drawn, others ignored."""

    def __init__(self, resize: str = "tensorflow") -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.kernel = torch.randn(8, 3, 5, 5, generator=generator)
        self.fc = torch.randn(8, 5, generator=generator)

    def resize(self, images: Tensor) -> Tensor:
        return nn.functional.interpolate(images, (16, 16), mode="bilinear")

    def published(self) -> dict[str, Tensor]:
        return {"fc.weight": torch.empty(5, 8, device="meta")}

    def load(self, state: Mapping[str, Tensor]) -> None:
        assert state.keys() == {"fc.weight"}

    def forward(self, images: Tensor) -> InceptionFeatures:
        assert images.shape[2:] == (16, 16)
        x = nn.functional.conv2d(images.float() / 128 - 1, self.kernel, stride=4).relu()
        pool = x.mean((2, 3))
        spatial = nn.functional.adaptive_avg_pool2d(x[:, :3], 2).permute(0, 2, 3, 1).flatten(1)
        return InceptionFeatures(pool, spatial, pool @ self.fc)
