"""The FID Inception network: Inception v3 as TensorFlow published it on 2015-12-05, which FID is defined by.

Paper: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
https://arxiv.org/abs/1512.00567, section 6. Unlike torchvision's network it knows 1008 classes, its average
pools leave the padding out, and its last block pools by the maximum, as the published weights were trained.
Shape letters: B images, C channels, H, W sides in pixels, h, w sides of features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcli.nn.frozen import checked, settle
from vqcli.nn.precision import float32
from vqcli.nn.resize import resize_clean, resize_tensorflow

CLASSES = 1008
EPS = 0.001
"""Added to the variance in batch norms."""
SPATIAL = 7
"""Channels of Mixed_6d that sFID looks at (ADM; Nash et al., https://arxiv.org/abs/2103.03841)."""
HINT = "it takes what pytorch-fid or torch-fidelity publish, not torchvision's inception_v3: docs/weights.md"
RESIZE = {"tensorflow": resize_tensorflow, "clean": resize_clean}
Kernel = int | tuple[int, int]


@dataclass(frozen=True)
class InceptionFeatures:
    """What the network makes of B images, float32."""

    pool: Tensor
    """(B, 2048): the last layer, averaged over positions."""
    spatial: Tensor
    """(B, 2023): seven channels of 17x17 positions, channels innermost, which sFID looks at."""
    logits: Tensor
    """(B, 1008): scores of ImageNet's classes, without their biases."""


class FidInception(nn.Module):
    """Features of images (B, 3, H, W) in [0, 255], uint8 or float. Frozen; NaN until weights are loaded.

    Computes in float32 whatever autocast stands around. ``resize`` is how images come to 299x299 pixels:
    TensorFlow 1's bilinear (ADM, torch-fidelity), or clean-fid's bicubic. Images of that size stay as they
    are.
    """

    name = "fid-inception"

    def __init__(self, resize: Literal["tensorflow", "clean"] = "tensorflow") -> None:
        super().__init__()
        self.resize = RESIZE[resize]
        home = torch.get_default_device()
        with torch.device("meta"):  # draws no numbers: what else is built keeps its seed
            self.stages = nn.ModuleList([_to_35(), _to_6d(), _conv_17("Mixed_6e", 192), _to_8()])
            self.fc = nn.Linear(2048, CLASSES, bias=False)
        settle(self.eval(), home)

    def forward(self, images: Tensor) -> InceptionFeatures:
        """What FID and precision (``pool``), sFID (``spatial``) and the Inception Score (``logits``) need."""
        _, mixed_6d, _, pool, logits = self._found(images)
        # a block's first branch comes first in what leaves it: this is TensorFlow's mixed_6/conv
        spatial = mixed_6d[:, :SPATIAL].permute(0, 2, 3, 1).flatten(1)
        return InceptionFeatures(pool, spatial, logits)

    def layers(self, images: Tensor) -> dict[str, Tensor]:
        """Averages over positions, by torch-fidelity's names: 192, 768, 2048, logits_unbiased; (B, ...)."""
        first, _, mixed_6e, pool, logits = self._found(images)
        return {
            "192": first.mean((2, 3)),
            "768": mixed_6e.mean((2, 3)),
            "2048": pool,
            "logits_unbiased": logits,
        }

    def _found(self, images: Tensor) -> tuple[Tensor, ...]:
        """What leaves the first three stages (B, C, h, w), then ``pool`` and ``logits``."""
        found = []
        with float32(images):
            x = (self.resize(images.float()) - 128) / 128
            if x.device.type == "cpu":  # 1.5 times as fast there
                x = x.contiguous(memory_format=torch.channels_last)
            for stage in self.stages:
                x = stage(x)
                found.append(x)
            pool = x.mean((2, 3))
            return *found[:3], pool, self.fc(pool)

    def published(self) -> dict[str, Tensor]:
        """What ``load`` needs, by key, on the meta device: names and shapes alone.

        It differs from ``state_dict``: batch norms are part of the convolutions here.
        """
        needed = {"fc.weight": self.fc.weight.to("meta")}
        for convolution in self._convolutions():
            needed |= convolution.published()
        return needed

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take weights by the keys of pytorch-fid and torch-fidelity (``Mixed_5b.branch1x1.conv.weight``).

        Other keys are passed over. A network on the meta device takes none. Raises VqcliError that names the
        first key that lacks or does not fit.
        """
        if self.fc.weight.is_meta:
            return
        taken = checked(self.name, state, self.published(), HINT)
        for convolution in self._convolutions():
            convolution.take(taken)
        self.fc.weight.copy_(taken["fc.weight"])

    def _convolutions(self) -> list[_Convolution]:
        return [module for module in self.modules() if isinstance(module, _Convolution)]


class _Convolution(nn.Conv2d):
    """A convolution, a batch norm and a ReLU. The norm is part of the convolution's weights once loaded."""

    def __init__(
        self, key: str, before: int, width: int, kernel: Kernel, stride: int = 1, padded: bool = True
    ) -> None:
        """``key`` is the published name; ``padded`` keeps height and width where the stride is 1."""
        height, width_ = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width_ // 2) if padded else 0
        super().__init__(before, width, (height, width_), stride, padding)
        self.key = key

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(super().forward(x))

    def published(self) -> dict[str, Tensor]:
        """What is published of it, by key, as meta tensors: the weight, then scale, shift, mean, variance."""
        assert self.bias is not None
        norm = ("weight", "bias", "running_mean", "running_var")
        of_norm = {f"{self.key}.bn.{name}": self.bias.to("meta") for name in norm}
        return {f"{self.key}.conv.weight": self.weight.to("meta")} | of_norm

    def take(self, state: Mapping[str, Tensor]) -> None:
        """Take what is ``published``: the norm scales and shifts what comes out, so it can do so here."""
        weight, scale, shift, mean, variance = (state[key].double() for key in self.published())
        scale = scale / (variance + EPS).sqrt()
        self.weight.copy_(weight * scale.view(-1, 1, 1, 1))
        assert self.bias is not None
        self.bias.copy_(shift - mean * scale)


class _Branches(nn.ModuleList):
    """Parallel ways from one input, their outputs joined over channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], 1)


def _chain(block: str, before: int, *steps: tuple[str, int, Kernel], stride: int = 1) -> nn.Sequential:
    """Convolutions one after another, (name, width, kernel) each; the last has the stride."""
    layers = []
    for name, width, kernel in steps:
        last = stride if name == steps[-1][0] else 1
        layers.append(_Convolution(f"{block}.{name}", before, width, kernel, last, padded=last == 1))
        before = width
    return nn.Sequential(*layers)


def _average() -> nn.Module:
    """The mean over 3x3 pixels, of those that are there."""
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def _to_35() -> nn.Module:
    """From 299 pixels a side to 192 channels of 35."""
    return nn.Sequential(
        _Convolution("Conv2d_1a_3x3", 3, 32, 3, stride=2, padded=False),
        _Convolution("Conv2d_2a_3x3", 32, 32, 3, padded=False),
        _Convolution("Conv2d_2b_3x3", 32, 64, 3),
        nn.MaxPool2d(3, 2),
        _Convolution("Conv2d_3b_1x1", 64, 80, 1),
        _Convolution("Conv2d_4a_3x3", 80, 192, 3, padded=False),
        nn.MaxPool2d(3, 2),
    )


def _to_6d() -> nn.Module:
    """From 192 channels of 35 positions a side to 768 of 17."""
    halve = partial(_chain, "Mixed_6a", 288, stride=2)
    return nn.Sequential(
        _conv_35("Mixed_5b", 192, 32),
        _conv_35("Mixed_5c", 256, 64),
        _conv_35("Mixed_5d", 288, 64),
        _Branches([
            halve(("branch3x3", 384, 3)),
            halve(("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
            nn.MaxPool2d(3, 2),
        ]),
        _conv_17("Mixed_6b", 128),
        _conv_17("Mixed_6c", 160),
        _conv_17("Mixed_6d", 160),
    )  # fmt: skip


def _to_8() -> nn.Module:
    """From 768 channels of 17 positions a side to 2048 of 8."""
    halve = partial(_chain, "Mixed_7a", 768, stride=2)
    return nn.Sequential(
        _Branches([
            halve(("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)),
            halve(
                ("branch7x7x3_1", 192, 1),
                ("branch7x7x3_2", 192, (1, 7)),
                ("branch7x7x3_3", 192, (7, 1)),
                ("branch7x7x3_4", 192, 3),
            ),
            nn.MaxPool2d(3, 2),
        ]),
        _conv_8("Mixed_7b", 1280, _average()),
        _conv_8("Mixed_7c", 2048, nn.MaxPool2d(3, 1, 1)),
    )  # fmt: skip


def _conv_35(block: str, before: int, pooled: int) -> nn.Module:
    """A block at 35 positions a side; ``pooled`` is the width of its pooled branch."""
    chain = partial(_chain, block, before)
    return _Branches([
        chain(("branch1x1", 64, 1)),
        chain(("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
        chain(("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
        nn.Sequential(_average(), chain(("branch_pool", pooled, 1))),
    ])  # fmt: skip


def _conv_17(block: str, width: int) -> nn.Module:
    """A block at 17 positions a side, 7x7 in rows and columns; ``width`` is that of what stands inside."""
    chain = partial(_chain, block, 768)
    row, column = (1, 7), (7, 1)
    return _Branches([
        chain(("branch1x1", 192, 1)),
        chain(("branch7x7_1", width, 1), ("branch7x7_2", width, row), ("branch7x7_3", 192, column)),
        chain(
            ("branch7x7dbl_1", width, 1),
            ("branch7x7dbl_2", width, column),
            ("branch7x7dbl_3", width, row),
            ("branch7x7dbl_4", width, column),
            ("branch7x7dbl_5", 192, row),
        ),
        nn.Sequential(_average(), chain(("branch_pool", 192, 1))),
    ])  # fmt: skip


def _conv_8(block: str, before: int, pool: nn.Module) -> nn.Module:
    """A block at 8 positions a side, whose two longer branches end in a row beside a column."""
    chain = partial(_chain, block, before)

    def fork(name: str) -> nn.Module:
        row, column = (f"{name}a", 384, (1, 3)), (f"{name}b", 384, (3, 1))
        return _Branches([_chain(block, 384, row), _chain(block, 384, column)])

    return _Branches([
        chain(("branch1x1", 320, 1)),
        nn.Sequential(chain(("branch3x3_1", 384, 1)), fork("branch3x3_2")),
        nn.Sequential(chain(("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3)), fork("branch3x3dbl_3")),
        nn.Sequential(pool, chain(("branch_pool", 192, 1))),
    ])  # fmt: skip
