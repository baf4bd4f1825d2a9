"""Every loss on images keeps the contract."""

import pytest
import torch

from tests.options import unread, watched
from tests.perceptual import drawn_images, drawn_weights
from vqcli.library.networks import NETWORKS
from vqcli.losses.base import ImageLoss
from vqcli.parts import PARTS
from vqcli.registry import resolve

NAMES = sorted(PARTS["losses"])
OUTSIDE = {"weights"}
"""Options that are read where weights are brought."""


def make(name: str, **options) -> ImageLoss:
    part = resolve("losses", name)
    loss = part(part.Config(**part.TINY | options)).eval()
    if loss.network:
        loss.load(drawn_weights(loss.network.removeprefix("lpips-")))
    return loss


@pytest.mark.parametrize("name", NAMES)
def test_a_scalar_with_a_gradient_that_its_weight_scales(name: str) -> None:
    images, reconstruction = drawn_images(32, seed=1), drawn_images(32, seed=2).requires_grad_()
    loss = make(name)(reconstruction, images)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss > 0
    loss.backward()
    assert reconstruction.grad.abs().sum() > 0
    torch.testing.assert_close(make(name, weight=3.0)(reconstruction, images), 3 * loss)
    assert make(name)(images, images).abs() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_what_it_needs_is_told(name: str) -> None:
    loss = make(name)
    assert not loss.network or loss.network in NETWORKS
    smallest = drawn_images(loss.smallest, seed=1), drawn_images(loss.smallest, seed=2)
    assert loss(*smallest) > 0
    assert not [p for p in loss.parameters() if p.requires_grad]


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_read(name: str) -> None:
    part = resolve("losses", name)
    config, seen = watched(part)
    loss = part(config)
    if loss.network:
        loss.load(drawn_weights(loss.network.removeprefix("lpips-")))
    loss(drawn_images(32, seed=1), drawn_images(32, seed=2))
    assert unread(part, seen) <= OUTSIDE
