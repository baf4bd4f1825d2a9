import pytest
import torch

from tests.perceptual import drawn_images, drawn_lpips
from vqcli.metrics.image import lpips
from vqcli.pixels import to_uint8


@pytest.fixture(scope="module")
def network():
    return drawn_lpips("alex")


def test_eight_bit_images_are_compared(network):
    a, b = drawn_images(40), drawn_images(40, seed=2)
    x, y = to_uint8(a), to_uint8(b)
    want = network(x.float() / 127.5 - 1, y.float() / 127.5 - 1)
    assert torch.equal(lpips(network, x, y), want)
    assert torch.equal(lpips(network, x + 0.3, y - 0.4), want)  # float images are rounded
    assert lpips(network, x, x).tolist() == [0, 0]
    assert not torch.equal(network(a, b), want)  # what 8 bits do is seen


def test_no_dropout_no_gradient_and_the_mode_is_kept(network):
    x, y = to_uint8(drawn_images(40)), to_uint8(drawn_images(40, seed=2))
    want = lpips(network, x, y)
    assert not network.training
    network.train()
    try:
        found = lpips(network, x.float().requires_grad_(), y)
        assert torch.equal(found, want)
        assert not found.requires_grad
        assert network.training
        assert network.lin0.model[0].training
        with pytest.raises(ValueError, match="40x30 pixels"):
            lpips(network, x[..., :30], y[..., :30])
        assert network.training
    finally:
        network.eval()


def test_shapes_must_agree(network):
    with pytest.raises(ValueError, match="cannot be compared"):
        lpips(network, torch.zeros(1, 3, 40, 40), torch.zeros(1, 3, 40, 41))
