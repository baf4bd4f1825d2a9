"""Pixel losses against their formulas."""

import torch

from vqcli.losses.base import ImageLoss
from vqcli.registry import build, resolve


def loss(name: str, weight: float) -> ImageLoss:
    return build("losses", resolve("losses", name).Config(weight=weight))


def test_formulas_and_weight() -> None:
    a, b = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(loss("l1", 2.0)(a, b), 2 * (a - b).abs().mean())
    torch.testing.assert_close(loss("l2", 0.5)(a, b), 0.5 * ((a - b) ** 2).mean())


def test_half_precision_reconstructions_are_compared_in_float32() -> None:
    a, b = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    for name in ("l1", "l2"):
        assert torch.equal(loss(name, 1.0)(a.half(), b), loss(name, 1.0)(a.half().float(), b))
