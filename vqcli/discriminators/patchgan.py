"""PatchGAN: each patch of an image is judged on its own.

Papers: Isola et al., https://arxiv.org/abs/1611.07004; Esser et al., "Taming Transformers",
https://arxiv.org/abs/2012.09841. Tensors have the names of the published weights.
Shape letters: B images, H, W sides in pixels, h, w sides of the map of logits.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from vqcli.config import PartConfig
from vqcli.discriminators.base import Discriminator
from vqcli.errors import VqcliError
from vqcli.nn.actnorm import ActNorm


class PatchGan(Discriminator):
    """Judges each patch of an image on its own.

    (B, 3, H, W) -> (B, 1, h, w), where h = H / 2^layers - 2, the quotient rounded down.
    """

    class Config(PartConfig):
        """Options of a PatchGAN discriminator."""

        name: Literal["patchgan"] = "patchgan"
        layers: int = Field(3, ge=1, le=16)
        """Convolutions that halve the sides; a logit sees 70 x 70 pixels with 3 of them, 34 x 34 with 2."""
        channels: int = Field(64, ge=1, le=1 << 12)
        """Channels behind the first convolution; each further one doubles them, up to eight times as many."""
        norm: Literal["batch", "actnorm"] = "batch"
        """``batch`` normalizes by the images of one process and pass; ``actnorm`` by trained numbers."""

    TINY: ClassVar[dict[str, Any]] = {"layers": 1, "channels": 4}

    def __init__(self, config: Config, image_size: tuple[int, int]) -> None:
        super().__init__(config, image_size)
        smallest = 3 * 2**config.layers
        if min(image_size) < smallest:
            height, width = image_size
            raise VqcliError(
                f"a patchgan discriminator of {config.layers} layers takes no images of {height} x {width}",
                hint=f"sides of at least {smallest} pixels, or fewer layers",
                reason="config",
            )
        widths = [config.channels * min(2**n, 8) for n in range(config.layers + 1)]
        modules: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for n in range(1, config.layers + 1):
            stride = 2 if n < config.layers else 1
            modules += norm_conv(widths[n - 1], widths[n], stride, config.norm)
        self.main = nn.Sequential(*modules, nn.Conv2d(widths[-1], 1, 4, padding=1))
        for module in self.main:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, images: Tensor) -> Tensor:
        return self.main(images)


def norm_conv(c_in: int, c_out: int, stride: int, norm: Literal["batch", "actnorm"]) -> list[nn.Module]:
    """A convolution, its norm and a leaky ReLU; batch norm would take away what a bias adds."""
    conv = nn.Conv2d(c_in, c_out, 4, stride=stride, padding=1, bias=norm == "actnorm")
    return [conv, ActNorm(c_out) if norm == "actnorm" else nn.BatchNorm2d(c_out), nn.LeakyReLU(0.2)]
