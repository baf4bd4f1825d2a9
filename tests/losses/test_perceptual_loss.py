"""The perceptual loss: the mean distance, weighted, of the network that its config names."""

import pytest
import torch

from tests.perceptual import drawn_images, drawn_lpips, drawn_weights
from vqcli.errors import VqcliError
from vqcli.library.networks import NETWORKS
from vqcli.losses.perceptual import PerceptualLoss
from vqcli.registry import build, resolve


def loss(**options) -> PerceptualLoss:
    kind = resolve("losses", "perceptual")
    made = build("losses", kind.Config(**{**kind.TINY, **options}))
    made.load(drawn_weights(made.config.net))
    return made


def test_the_mean_distance_times_the_weight():
    images, other = drawn_images(40, batch=3), drawn_images(40, seed=2, batch=3)
    want = drawn_lpips("alex")(other, images).mean()
    found = loss(weight=0.3).eval()(other, images)
    assert found.shape == ()
    torch.testing.assert_close(found, 0.3 * want)


def test_options_reach_the_network():
    made = loss(eps=1e-7, dropout=0.25)
    assert made.lpips.eps == 1e-7
    assert made.lpips.lin4.model[0].p == 0.25
    assert loss().lpips.eps == 1e-10
    assert loss().lpips.lin0.model[0].p == 0.5
    assert PerceptualLoss.Config().net == "vgg"


@pytest.mark.parametrize("net", ["vgg", "alex"])
def test_its_network_is_in_the_table(net):
    with torch.device("meta"):
        made = build("losses", PerceptualLoss.Config(net=net))
    assert made.network == f"lpips-{net}"
    assert made.network in NETWORKS


def test_dropout_in_training_mode():
    images, other = drawn_images(40), drawn_images(40, seed=2)
    made = loss()
    assert made.training
    torch.manual_seed(0)
    assert made(other, images) != made(other, images)
    made.eval()
    assert made(other, images) == made(other, images)


def test_nothing_in_it_is_trained_and_reconstructions_are():
    made, images = loss(), drawn_images(40)
    reconstruction = drawn_images(40, seed=2).requires_grad_()
    made(reconstruction, images).backward()
    assert reconstruction.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in made.parameters())


def test_a_step_along_the_gradient_comes_nearer():
    made, images = loss(dropout=0.0), drawn_images(40)
    reconstruction = (images + 0.3 * drawn_images(40, seed=2)).requires_grad_()
    before = made(reconstruction, images)
    before.backward()
    with torch.no_grad():
        assert made(reconstruction - 0.01 * reconstruction.grad.sign(), images) < before


def test_weights_of_another_network():
    with pytest.raises(VqcliError, match="has the shape"):
        loss().load(drawn_weights("vgg") | {"features.0.weight": torch.zeros(64, 3, 3, 3)})
