"""LPIPS against its formula, written out layer by layer."""

import pytest
import torch
import torch.nn.functional as F

from tests.perceptual import drawn_images, drawn_lpips, drawn_weights
from vqcli.errors import VqcliError
from vqcli.nn.lpips import SMALLEST, Lpips

LAYERS = {
    "vgg": "0 2 * pool 5 7 * pool 10 12 14 * pool 17 19 21 * pool 24 26 28 *",
    "alex": "0 * pool 3 * pool 6 * 8 * 10 *",
}
"""Convolutions by torchvision's index, each followed by a ReLU; a star takes the features so far."""
NETS = list(LAYERS)


@pytest.fixture(scope="module", params=NETS)
def network(request):
    return drawn_lpips(request.param)


def slow_features(net, state, image):
    """The five features of one image (3, H, W), with strides and paddings read off the shapes."""
    x = torch.stack([
        (image[0] + 0.030) / 0.458,
        (image[1] + 0.088) / 0.448,
        (image[2] + 0.188) / 0.450,
    ])[None]  # fmt: skip
    taps = []
    for word in LAYERS[net].split():
        if word == "*":
            taps.append(x[0])
        elif word == "pool":
            x = F.max_pool2d(x, 2 if net == "vgg" else 3, 2)
        else:
            weight = state[f"features.{word}.weight"]
            stride, padding = {3: (1, 1), 5: (1, 2), 11: (4, 2)}[weight.shape[-1]]
            x = F.conv2d(x, weight, state[f"features.{word}.bias"], stride, padding).relu()
    return taps


def slow_distances(net, state, a, b, eps):
    """The five summands of one pair of images."""
    found = []
    for k, (of_a, of_b) in enumerate(zip(slow_features(net, state, a), slow_features(net, state, b))):
        total = 0.0
        for y in range(of_a.shape[1]):
            for x in range(of_a.shape[2]):
                u, v = of_a[:, y, x], of_b[:, y, x]
                u, v = u / ((u**2).sum().sqrt() + eps), v / ((v**2).sum().sqrt() + eps)
                total += (state[f"lin{k}.model.1.weight"].flatten() * (u - v) ** 2).sum().item()
        found.append(total / (of_a.shape[1] * of_a.shape[2]))
    return found


@pytest.mark.parametrize("eps", [1e-10, 0.5])
@pytest.mark.parametrize("net", NETS)
def test_against_the_formula(net, eps):
    state, network = drawn_weights(net), drawn_lpips(net, eps=eps)
    side = SMALLEST[net] + 8
    a, b = drawn_images(side), drawn_images(side, seed=2)
    want = torch.tensor([slow_distances(net, state, *pair, eps) for pair in zip(a, b)]).T
    torch.testing.assert_close(network.per_layer(a, b), want, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(network(a, b), want.sum(0), rtol=1e-4, atol=1e-6)


def test_equal_images_are_0_apart_and_order_does_not_matter(network):
    a, b = drawn_images(48), drawn_images(48, seed=2)
    assert network(a, a).tolist() == [0, 0]
    assert (network(a, b) > 0.01).all()
    assert torch.equal(network(a, b), network(b, a))


def test_all_is_frozen_and_only_what_needs_a_gradient_gets_one(network):
    assert not any(parameter.requires_grad for parameter in network.parameters())
    a, b = drawn_images(32).requires_grad_(), drawn_images(32, seed=2)
    saved = []

    def keep(tensor):
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        assert not any(features.requires_grad for features in network._taps(b))
        assert not saved  # the target costs no graph
        network(a, b).sum().backward()
    assert saved
    assert a.grad.abs().sum() > 0
    assert b.grad is None


def test_the_gradient_is_the_slope():
    network = drawn_lpips("alex")
    a, b = drawn_images(31, batch=1).requires_grad_(), drawn_images(31, seed=2, batch=1)
    network(a, b).sum().backward()
    step = a.grad / a.grad.norm() * 0.02
    rise = (network(a.detach() + step, b) - network(a.detach() - step, b)).item()
    assert rise == pytest.approx(2 * (a.grad * step).sum().item(), rel=0.05)


def test_positions_without_features_have_a_gradient():
    """It is 0, though a length of 0 has no slope."""
    network = drawn_lpips("alex")
    for key, parameter in network.named_parameters():
        if key.endswith("bias"):
            parameter.fill_(-1000.0)
    a, b = drawn_images(40).requires_grad_(), drawn_images(40, seed=2)
    distances = network(a, b)
    distances.sum().backward()
    assert distances.tolist() == [0, 0]
    assert a.grad.abs().max() == 0


def test_dropout_is_on_in_training_only_and_keeps_the_mean():
    network = drawn_lpips("alex", dropout=0.5)
    a, b = drawn_images(64, batch=1), drawn_images(64, seed=2, batch=1)
    want = network.per_layer(a, b)
    network.train()
    torch.manual_seed(0)
    found = torch.stack([network.per_layer(a, b) for _ in range(60)])
    assert (found.std(0) > 0.001 * want).all()
    torch.testing.assert_close(found.mean(0), want, rtol=0.03, atol=0)
    assert torch.equal(network.eval().per_layer(a, b), want)
    without = drawn_lpips("alex", dropout=0.0).train()
    assert torch.equal(without.per_layer(a, b), want)


def test_dropout_leaves_out_single_differences_and_rescales():
    """With weights of one everywhere, what is left of a layer is a sum over what was kept, doubled."""
    head = drawn_lpips("alex", dropout=0.5).lin0
    head.model[1].weight.fill_(1)
    squares = torch.rand(1, 64, 5, 5)
    head.train()
    torch.manual_seed(3)
    found = head(squares)
    torch.manual_seed(3)
    kept = F.dropout(torch.ones_like(squares), 0.5)
    assert set(kept.unique().tolist()) == {0, 2}
    torch.testing.assert_close(found, (squares * kept).sum(dim=(1, 2, 3)) / 25)


def test_in_autocast_features_are_half_and_differences_are_not(network):
    a, b = drawn_images(48).requires_grad_(), drawn_images(48, seed=2)
    want, given = network(a, b), []
    hook = network.lin2.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert {tap.dtype for tap in network._taps(b)} == {torch.bfloat16}
        found = network(a, b)
    hook.remove()
    assert given == [torch.float32]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, want, rtol=0.05, atol=0)
    found.sum().backward()
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_images_are_scaled_in_float32(network, dtype):
    a, b = drawn_images(40).to(dtype), drawn_images(40, seed=2)
    assert torch.equal(network(a, b), network(a.float(), b))


def test_the_smallest_images(network):
    least = SMALLEST[network.net]
    assert network(drawn_images(least), drawn_images(least, seed=2)).isfinite().all()
    assert [tap.shape[-1] for tap in network._taps(drawn_images(least))][-1] == 1
    tall = torch.zeros(1, 3, 100, least - 1)
    with pytest.raises(ValueError, match=f"100x{least - 1} pixels: {network.name} needs {least}x{least}"):
        network(tall, tall)
    with pytest.raises(RuntimeError):  # and nothing smaller would do
        list(network._taps(tall))


def test_shapes_must_agree(network):
    with pytest.raises(ValueError, match="cannot be compared"):
        network(torch.zeros(1, 3, 64, 64), torch.zeros(2, 3, 64, 64))


def renamed_as_the_package_does(state):
    """Its network is cut into five slices, its heads stand under two names, and it keeps the scaling."""
    ends = (4, 9, 16, 23, 30)
    found = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "scaling_layer.scale": torch.ones(1, 3, 1, 1)}
    for key, tensor in state.items():
        first, index, rest = key.split(".", 2)
        if first == "features":
            part = next(n for n, end in enumerate(ends, 1) if int(index) < end)
            found[f"net.slice{part}.{index}.{rest}"] = tensor
        else:
            found[f"lins.{first[3:]}.{index}.{rest}"] = tensor
    return found


def test_keys_of_both_forms(network):
    state = drawn_weights(network.net, seed=5)
    assert set(state) == set(network.state_dict())
    forms = ({**state, "classifier.0.weight": torch.ones(2, 2)}, renamed_as_the_package_does(state))
    for form in forms:
        other = Lpips(network.net)
        other.load(form)
        assert all(torch.equal(other.state_dict()[key], tensor) for key, tensor in state.items())
        assert not any(parameter.requires_grad for parameter in other.parameters())


def test_weights_that_do_not_fit():
    state = drawn_weights("alex")
    network = Lpips("alex")
    first = {key: x for key, x in state.items() if key not in ("features.3.bias", "lin1.model.1.weight")}
    with pytest.raises(VqcliError, match=r"the weights of lpips-alex lack 'features\.3\.bias'"):
        network.load(first)
    shape = r"'features\.0\.weight' has the shape \(64, 3, 3, 3\), lpips-alex has \(64, 3, 11, 11\)"
    with pytest.raises(VqcliError, match=shape):
        network.load(state | {"features.0.weight": torch.zeros(64, 3, 3, 3)})
    assert all(x.isnan().all() for x in network.state_dict().values())  # nothing was taken


def test_without_weights_there_is_no_distance():
    a = drawn_images(31)
    assert Lpips("alex")(a, a).isnan().all()


def test_building_draws_nothing_and_works_on_the_meta_device():
    torch.manual_seed(0)
    want = torch.rand(4)
    torch.manual_seed(0)
    Lpips("alex")
    assert torch.equal(torch.rand(4), want)
    with torch.device("meta"):
        network = Lpips("vgg")
        assert network(torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 64, 64)).shape == (2,)
    assert all(x.is_meta for x in (*network.parameters(), *network.buffers()))
    network.load({})
