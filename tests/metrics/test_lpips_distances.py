import pytest
import torch

from tests.perceptual import drawn_images, drawn_lpips, drawn_weights
from vqcli.errors import VqcliError
from vqcli.metrics.lpips import LpipsDistance

CPU = torch.device("cpu")


def made(**options):
    metric = LpipsDistance(LpipsDistance.Config(**options))
    metric.load(drawn_weights(metric.config.net), CPU)
    return metric


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_it_is_the_networks_distance(net):
    a, b = drawn_images(40), drawn_images(40, seed=2)
    metric = made(net=net)
    assert metric.network == f"lpips-{net}"
    found = metric.measure(a, b)
    assert torch.equal(found, drawn_lpips(net)(a, b).double())
    assert found.dtype == torch.float64
    assert metric.measure(a, a).tolist() == [0, 0]


def test_reconstructions_are_clamped():
    a, b = drawn_images(40), 3 * drawn_images(40, seed=2)
    metric = made()
    assert torch.equal(metric.measure(a, b), metric.measure(a, b.clamp(-1, 1)))


def test_mapped_twice_is_what_vqgan_lcs_script_measures():
    """A library that maps [0, 1] by 2 x - 1 was given [-1, 1], and what leaves it was not clamped."""
    a, b = drawn_images(40), 1.5 * drawn_images(40, seed=2)
    found = made(mapped_twice=True).measure(a, b)
    assert torch.equal(found, drawn_lpips("alex")(2 * a - 1, 2 * b - 1).double())
    assert not torch.allclose(found, made().measure(a, b), rtol=0.05)


def test_no_dropout_no_gradient():
    a, b = drawn_images(40), drawn_images(40, seed=2)
    metric = made()
    found = metric.measure(a, b.requires_grad_())
    assert not found.requires_grad
    assert torch.equal(found, metric.measure(a, b))


def test_weights_must_fit():
    metric = LpipsDistance(LpipsDistance.Config(net="vgg"))
    with pytest.raises(VqcliError, match="lpips-vgg"):
        metric.load(drawn_weights("alex"), CPU)


def test_images_must_fit():
    a = drawn_images(40)
    with pytest.raises(ValueError, match="cannot be compared"):
        made().measure(a, a[..., :39])
    with pytest.raises(ValueError, match="40x30 pixels"):
        made().measure(a[..., :30], a[..., :30])
