"""The FID Inception network against its description, layer by layer."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vqcli.errors import VqcliError
from vqcli.nn.inception import FidInception
from vqcli.nn.random_weights import random_weights
from vqcli.nn.resize import resize_clean, resize_tensorflow

STEM = "Conv2d_1a_3x3/2- Conv2d_2a_3x3- Conv2d_2b_3x3 max/2 Conv2d_3b_1x1 Conv2d_4a_3x3- max/2"
BLOCKS = {
    "Mixed_5b Mixed_5c Mixed_5d": """
        branch1x1 | branch5x5_1 branch5x5_2
        | branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3 | mean branch_pool""",
    "Mixed_6a": "branch3x3/2- | branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3/2- | max/2",
    "Mixed_6b Mixed_6c Mixed_6d Mixed_6e": """
        branch1x1 | branch7x7_1 branch7x7_2 branch7x7_3
        | branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5 | mean branch_pool""",
    "Mixed_7a": """
        branch3x3_1 branch3x3_2/2- | branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4/2- | max/2""",
    "Mixed_7b": """
        branch1x1 | branch3x3_1 branch3x3_2a | branch3x3_1 branch3x3_2b
        | branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a | branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3b
        | mean branch_pool""",
    "Mixed_7c": """
        branch1x1 | branch3x3_1 branch3x3_2a | branch3x3_1 branch3x3_2b
        | branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a | branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3b
        | max branch_pool""",
}
"""Branches, joined in this order; ``/2`` halves, ``-`` is without padding."""


KERNELS = {
    "Mixed_5b.branch5x5_2": (64, 48, 5, 5),
    "Mixed_6b.branch7x7_2": (128, 128, 1, 7),
    "Mixed_6c.branch7x7_3": (192, 160, 7, 1),
    "Mixed_6d.branch7x7dbl_2": (160, 160, 7, 1),
    "Mixed_6d.branch7x7dbl_3": (160, 160, 1, 7),
    "Mixed_6e.branch7x7dbl_4": (192, 192, 7, 1),
    "Mixed_6e.branch7x7dbl_5": (192, 192, 1, 7),
    "Mixed_7a.branch7x7x3_2": (192, 192, 1, 7),
    "Mixed_7a.branch7x7x3_3": (192, 192, 7, 1),
    "Mixed_7b.branch3x3_2a": (384, 384, 1, 3),
    "Mixed_7c.branch3x3dbl_3b": (384, 384, 3, 1),
}
"""Of convolutions whose two sides could be mixed up."""


def drawn_weights(seed=0):
    """In the published layout, with batch norms that change a lot and keys that are not needed."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for key, like in FidInception().published().items():
        values = torch.empty(like.shape)
        if like.ndim > 1:
            state[key] = values.normal_(0, (2 / like[0].numel()) ** 0.5, generator=generator)
        elif key.endswith(("running_mean", "bias")):
            state[key] = values.normal_(0, 0.2, generator=generator)
        else:
            state[key] = values.uniform_(0.5, 1.5, generator=generator)
        if key.endswith("running_var"):
            state[key.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    return state | {"fc.bias": torch.ones(1008), "AuxLogits.fc.weight": torch.ones(2, 2)}


def drawn_images(side=64, batch=2, seed=1):
    return torch.randint(0, 256, (batch, 3, side, side), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def state():
    return drawn_weights()


@pytest.fixture(scope="module")
def network(state):
    network = FidInception()
    network.load(state)
    return network


def slow_pool(x, kind, stride=1):
    """3x3 pools: with stride 1 around every pixel, and only over what is there."""
    height, width = x.shape[2:]
    rim = 1 if stride == 1 else 0
    rows, columns = range(1 - rim, height - 1 + rim, stride), range(1 - rim, width - 1 + rim, stride)
    found = np.empty((*x.shape[:2], len(rows), len(columns)), np.float32)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            around = x[:, :, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            found[:, :, i, j] = around.max((2, 3)) if kind == "max" else around.mean((2, 3))
    return found


def slow_step(state, block, word, x):
    """A convolution with its batch norm and ReLU, or a pool; (B, C, h, w) as numpy has it."""
    name, stride, padded = word.removesuffix("-").split("/")[0], 2 if "/2" in word else 1, "-" not in word
    if name in ("max", "mean"):
        return slow_pool(x, name, stride)
    key = f"{block}.{name}" if block else name
    weight = state[f"{key}.conv.weight"]
    padding = tuple(n // 2 for n in weight.shape[2:]) if padded else 0
    y = F.conv2d(torch.from_numpy(x), weight, None, stride, padding)
    norm = (state[f"{key}.bn.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(y, *norm, eps=0.001).relu().numpy()


def slow_network(state, images):
    """Pool, spatial and logits of images (B, 3, 299, 299) in [0, 255]."""
    x, spatial = (images.float().numpy() - 128) / 128, None
    for word in STEM.split():
        x = slow_step(state, "", word, x)
    for names, branches in BLOCKS.items():
        for block in names.split():
            outputs = []
            for branch in branches.split("|"):
                y = x
                for word in branch.split():
                    y = slow_step(state, block, word, y)
                outputs.append(y)
            if block == "Mixed_6d":  # channels innermost, as TensorFlow has them
                spatial = outputs[0][:, :7].transpose(0, 2, 3, 1).reshape(len(x), -1)
            x = np.concatenate(outputs, 1)
    pool = torch.from_numpy(x.mean((2, 3)))
    return pool, torch.from_numpy(spatial), pool @ state["fc.weight"].T


def close(found, want, relative=1e-5):
    for a, b in zip(found, want, strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() < relative * b.norm()


@pytest.mark.parametrize("resize", ["tensorflow", "clean"])
def test_against_the_description(network, state, resize):
    """Batch norms that are part of the convolutions change nothing but the last digits."""
    images = drawn_images()
    resized = {"tensorflow": resize_tensorflow, "clean": resize_clean}[resize](images.float())
    want = slow_network(state, resized)
    other = FidInception(resize)
    other.load(state)
    found = other(images.to(torch.uint8))
    assert [x.shape for x in astuple(found)] == [(2, 2048), (2, 2023), (2, 1008)]
    close(astuple(found), want)
    close(astuple(network(resized)), want)  # of 299 pixels a side: nothing is resized
    assert all(x.std() > 0.05 for x in want)


def test_layers_are_those_of_forward(network):
    images = drawn_images(32)
    found, want = network.layers(images), network(images)
    assert torch.equal(found["2048"], want.pool)
    assert torch.equal(found["logits_unbiased"], want.logits)
    assert (found["192"].shape, found["768"].shape) == ((2, 192), (2, 768))


def test_images_do_not_see_each_other_and_differ(network):
    images = drawn_images(32, batch=3)
    together = astuple(network(images))
    for i, image in enumerate(images):
        close([x[i : i + 1] for x in together], astuple(network(image[None])))
    for features in together:
        assert (features[0] - features[1]).norm() > 0.01 * features[0].norm()


def test_in_float32_whatever_stands_around(network):
    images = drawn_images(32, batch=1)
    want = astuple(network(images))
    with torch.autocast("cpu", torch.bfloat16):
        found = astuple(network(images.to(torch.uint8)))
    assert all(torch.equal(a, b) and a.dtype == torch.float32 for a, b in zip(found, want, strict=True))


def test_frozen_and_of_a_known_shape(network):
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training
    needed = network.published()
    assert len(needed) == 94 * 5 + 1
    assert {key: tuple(needed[f"{key}.conv.weight"].shape) for key in KERNELS} == KERNELS


def test_building_draws_nothing_and_works_on_the_meta_device():
    torch.manual_seed(0)
    want = torch.rand(4)
    torch.manual_seed(0)
    empty = FidInception()
    assert torch.equal(torch.rand(4), want)
    assert all(x.isnan().all() for x in empty.state_dict().values())
    with torch.device("meta"):
        network = FidInception("clean")
        assert network(torch.zeros(2, 3, 64, 48)).spatial.shape == (2, 2023)
    assert all(x.is_meta for x in network.parameters())
    network.load({})


def test_weights_that_do_not_fit(state):
    network = FidInception()
    without = {key: x for key, x in state.items() if key != "Mixed_7c.branch_pool.bn.running_var"}
    with pytest.raises(
        VqcliError, match=r"of fid-inception lack 'Mixed_7c\.branch_pool\.bn\.running_var'"
    ) as e:
        network.load(without)
    assert e.value.reason == "layout"
    shape = r"'fc\.weight' has the shape \(1000, 2048\), fid-inception has \(1008, 2048\)"
    with pytest.raises(VqcliError, match=shape) as e:  # torchvision's network
        network.load(state | {"fc.weight": torch.zeros(1000, 2048)})
    assert "not torchvision's" in e.value.hint
    key = "Conv2d_1a_3x3.bn.weight"
    with pytest.raises(VqcliError, match=f"'{key}' holds values that are no finite numbers"):
        network.load(state | {key: torch.full((32,), torch.nan)})
    assert all(x.isnan().all() for x in network.state_dict().values())  # nothing was taken


def test_drawn_weights_are_sane():
    network, other = FidInception(), FidInception()
    network.load(random_weights(network.published(), 1))
    other.load(random_weights(other.published()))
    assert not torch.equal(network.fc.weight, other.fc.weight)
    network.load(random_weights(network.published()))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    assert all(0.01 < features.std() < 100 for features in astuple(network(drawn_images())))
