"""Every metric keeps the contract."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from tests.options import unread, watched
from tests.perceptual import drawn_images, drawn_weights
from vqcli.errors import VqcliError
from vqcli.library.networks import NETWORKS
from vqcli.metrics.base import LabelMetric, Metric, PairMetric, SetMetric, TokenMetric
from vqcli.metrics.protocols import PROTOCOLS
from vqcli.nn.inception import InceptionFeatures
from vqcli.parts import PARTS, describe
from vqcli.registry import MetricConfig, build, resolve

NAMES = sorted(PARTS["metrics"])
PAIRS = [name for name in NAMES if issubclass(resolve("metrics", name), PairMetric)]
IMAGES, CODES, GRID = 24, 16, ((1, 1), (2, 2))
CPU = torch.device("cpu")


def built(config) -> Metric:
    """The part of a configuration, told and given all it needs."""
    codes = (CODES,) if issubclass(resolve("metrics", config.name), TokenMetric) else ()
    metric = build("metrics", config, *codes)
    if isinstance(metric, PairMetric) and metric.network:
        metric.load(drawn_weights(metric.network.removeprefix("lpips-")), CPU)
    if isinstance(metric, SetMetric):
        metric.expect(IMAGES)
    return metric


def tiny(name: str) -> Metric:
    part = resolve("metrics", name)
    return built(part.Config(**part.TINY))


def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """Images, and reconstructions that are worse the later they come."""
    images, share = drawn_images(32, batch=IMAGES), torch.linspace(0.1, 0.9, IMAGES).view(-1, 1, 1, 1)
    return images, images.lerp(drawn_images(32, seed=2, batch=IMAGES), share)


def features(side: str) -> InceptionFeatures:
    """Of all images of a side; the two overlap and differ."""
    generator, shift = torch.Generator().manual_seed(len(side)), 0.3 * (side == "sample")
    widths = (12, 10, 8)
    return InceptionFeatures(*(torch.randn(IMAGES, w, generator=generator).abs() + shift for w in widths))


def show(metric: Metric, numbers: np.ndarray) -> Metric:
    """Let a metric see the images with these numbers."""
    if isinstance(metric, PairMetric):
        images, reconstructions = pairs()
        metric.observe(numbers, images[numbers], reconstructions[numbers])
    elif isinstance(metric, TokenMetric):
        metric.observe(np.random.default_rng(0).integers(0, CODES, (IMAGES, 5))[numbers], GRID)
    elif isinstance(metric, LabelMetric):
        guesses = np.random.default_rng(0).permuted(np.tile(np.arange(8), (IMAGES, 1)), axis=1)
        metric.observe(np.arange(IMAGES)[numbers] % 8, guesses[numbers])
    else:
        assert isinstance(metric, SetMetric)
        for side in sorted(metric.SIDES):
            every = features(side)
            some = (every.pool[numbers], every.spatial[numbers], every.logits[numbers])
            metric.observe(side, numbers, InceptionFeatures(*some))
    return metric


@pytest.mark.parametrize("name", NAMES)
def test_numbers_have_titles(name: str) -> None:
    metric = tiny(name)
    assert metric.result() == {}  # nothing was seen
    found = show(metric, np.arange(IMAGES)).result()
    assert list(found) == list(metric.TITLES)
    assert all(isinstance(value, int | float) and np.isfinite(value) for value in found.values())
    assert all(metric.TITLES.values())
    assert describe("metrics")[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", ["in order", "mixed"])
def test_what_two_saw_apart_adds_up(name: str, order: str, tmp_path) -> None:
    numbers = np.arange(IMAGES)
    whole = show(tiny(name), numbers).result()
    if order == "mixed":
        np.random.default_rng(1).shuffle(numbers)
    first, second, total = show(tiny(name), numbers[:9]), tiny(name), tiny(name)
    for batch in np.split(numbers[9:], 3):
        show(second, batch)
    for i, state in enumerate((second.state(), tiny(name).state(), first.state())):
        assert all(tensor.device == CPU for tensor in state.values())
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / f"{i}")
        total.merge(load_file(tmp_path / f"{i}"))
    assert total.result() == pytest.approx(whole, rel=1e-5, abs=1e-7)
    if isinstance(first, PairMetric):
        assert total.state()["indices"].tolist() == numbers[9:].tolist() + numbers[:9].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_read(name: str) -> None:
    part = resolve("metrics", name)
    config, seen = watched(part)
    show(built(config), np.arange(IMAGES)).result()
    assert unread(part, seen) == set()


@pytest.mark.parametrize("name", NAMES)
def test_networks_are_published_ones(name: str) -> None:
    metric = tiny(name)
    assert not metric.network or metric.network in NETWORKS
    if isinstance(metric, PairMetric) and metric.network:
        with pytest.raises(VqcliError, match=metric.network):
            metric.load({}, CPU)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols_name_options_that_there_are(protocol: str) -> None:
    for name in PROTOCOLS[protocol].metrics:
        config = TypeAdapter(MetricConfig).validate_python(PROTOCOLS[protocol].metric(name))
        assert config.name == name
        assert built(config).TITLES


@pytest.mark.parametrize("name", PAIRS)
def test_a_number_for_each_pair(name: str) -> None:
    metric, (images, reconstructions) = tiny(name), pairs()
    assert isinstance(metric, PairMetric)
    found = metric.measure(images, reconstructions)
    assert (found.shape, found.dtype, found.device) == ((IMAGES,), torch.float64, CPU)
    alone = torch.cat([metric.measure(images[i : i + 1], reconstructions[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(found[:3], alone, rtol=1e-5, atol=1e-7)  # whatever stands beside it
    assert show(metric, np.arange(IMAGES)).result() == {name: pytest.approx(found.mean().item())}


@pytest.mark.parametrize("name", PAIRS)
def test_it_says_which_way_is_better(name: str) -> None:
    metric, (images, reconstructions) = tiny(name), pairs()
    assert isinstance(metric, PairMetric)
    sign = 1 if metric.lower_is_better else -1
    found, equal = sign * metric.measure(images, reconstructions), sign * metric.measure(images, images)
    assert (equal < found).all()
    assert found[:8].mean() < found[8:16].mean() < found[16:].mean()


@pytest.mark.parametrize("name", PAIRS)
def test_shapes_must_agree(name: str) -> None:
    metric, (images, reconstructions) = tiny(name), pairs()
    assert isinstance(metric, PairMetric)
    with pytest.raises(ValueError, match="cannot be compared"):
        metric.measure(images, reconstructions[..., 1:])
