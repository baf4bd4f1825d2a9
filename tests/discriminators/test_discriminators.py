"""What every discriminator must do, and each against a slow formula. Shape letters: B images, h, w maps."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor, nn

from tests.options import unread, watched
from vqcli.discriminators.base import Discriminator
from vqcli.discriminators.patchgan import PatchGan
from vqcli.discriminators.stylegan import Blur, StyleGan
from vqcli.errors import VqcliError
from vqcli.parts import PARTS
from vqcli.registry import DiscriminatorConfig, build, resolve

SIZE = (16, 16)


@pytest.fixture(params=PARTS["discriminators"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def make(name: str, **options: Any) -> Discriminator:
    torch.manual_seed(0)
    part = resolve("discriminators", name)
    config = TypeAdapter(DiscriminatorConfig).validate_python({"name": name} | part.TINY | options)
    return build("discriminators", config, SIZE)


def picture(images: int = 3, side: int = SIZE[0]) -> Tensor:
    return torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


# The contract


def test_images_become_a_map_of_logits(name: str) -> None:
    logits = make(name)(picture())
    assert logits.dim() == 4
    assert logits.shape[:2] == (3, 1)
    assert not torch.equal(logits[0], logits[1])


def test_gradients_reach_every_parameter_and_the_images(name: str) -> None:
    model, images = make(name), picture().requires_grad_()
    model(images).square().sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert images.grad is not None
    assert images.grad.any()


def test_state_is_all_there_is(name: str) -> None:
    model = make(name)
    model(picture())
    again = make(name)
    for p in again.parameters():
        nn.init.zeros_(p)
    again.load_state_dict(model.state_dict())
    for training in (True, False):
        logits = [each.train(training)(picture()) for each in (model, again)]
        assert torch.equal(*logits)


def test_small_images_are_refused_with_a_way_out(name: str) -> None:
    part = resolve("discriminators", name)
    with pytest.raises(VqcliError, match=rf"a {name} discriminator .* no images of 4 x 4") as refusal:
        part(part.Config(**part.TINY), (4, 4))
    assert refusal.value.hint
    assert refusal.value.reason == "config"


def test_every_option_is_read(name: str) -> None:
    part = resolve("discriminators", name)
    config, seen = watched(part)
    part(config, SIZE)(picture())
    assert not unread(part, seen)


# PatchGAN


@pytest.mark.parametrize(("layers", "count", "side"), [(3, 2_765_633, 30), (2, 663_361, 62)])
def test_patchgan_is_the_published_network(layers: int, count: int, side: int) -> None:
    with torch.device("meta"):
        model = PatchGan(PatchGan.Config(layers=layers), (256, 256))
        assert model(torch.empty(1, 3, 256, 256)).shape == (1, 1, side, side)
    assert sum(p.numel() for p in model.parameters()) == count
    convs = [0, 2, 5, 8, 11][: layers + 2]
    biased = [convs[0], convs[-1]]
    keys = {f"main.{n}.weight" for n in convs} | {f"main.{n}.bias" for n in biased}
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    keys |= {f"main.{n + 1}.{key}" for n in convs[1:-1] for key in norm}
    assert set(model.state_dict()) == keys


def test_patchgan_has_eight_times_its_first_channels_at_most() -> None:
    with torch.device("meta"):
        model = PatchGan(PatchGan.Config(layers=5, channels=2), (96, 96))
    assert [m.out_channels for m in model.main if isinstance(m, nn.Conv2d)] == [2, 4, 8, 16, 16, 16, 1]


def by_hand(state: dict[str, Tensor], x: Tensor, layers: int, norm: str) -> Tensor:
    """PatchGAN from its tensors, batch norm and first batch of actnorm written out."""
    x = F.conv2d(x, state["main.0.weight"], state["main.0.bias"], stride=2, padding=1)
    for n in range(1, layers + 1):
        key = 3 * n - 1
        x = torch.where(x > 0, x, 0.2 * x)
        bias = state[f"main.{key}.bias"] if norm == "actnorm" else None
        x = F.conv2d(x, state[f"main.{key}.weight"], bias, stride=2 if n < layers else 1, padding=1)
        values_cn = x.transpose(0, 1).flatten(1)
        mean_c = values_cn.mean(1)[:, None, None]
        if norm == "actnorm":
            x = (x - mean_c) / (values_cn.std(1)[:, None, None] + 1e-6)
        else:
            x = (x - mean_c) / (values_cn.var(1, correction=0)[:, None, None] + 1e-5).sqrt()
            weight, bias = state[f"main.{key + 1}.weight"], state[f"main.{key + 1}.bias"]
            x = x * weight[:, None, None] + bias[:, None, None]
    x = torch.where(x > 0, x, 0.2 * x)
    last = f"main.{3 * layers + 2}"
    return F.conv2d(x, state[f"{last}.weight"], state[f"{last}.bias"], padding=1)


@pytest.mark.parametrize("norm", ["batch", "actnorm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_patchgan_by_hand(layers: int, norm: str) -> None:
    model = make("patchgan", layers=layers, norm=norm)
    for p in model.parameters():
        p.data += torch.randn_like(p) * 0.1
    wanted = by_hand(model.state_dict(), picture(), layers, norm)
    side = SIZE[0] // 2**layers - 2
    assert wanted.shape == (3, 1, side, side)
    torch.testing.assert_close(model(picture()), wanted, rtol=1e-4, atol=1e-5)


def test_patchgan_starts_as_published() -> None:
    torch.manual_seed(0)
    model = PatchGan(PatchGan.Config(), (64, 64))
    for key, x in model.state_dict().items():
        if x.dim() == 4:
            assert abs(x.mean()) < 4 * 0.02 / x.numel() ** 0.5, key
            torch.testing.assert_close(x.std().item(), 0.02, rtol=0.05, atol=0)
    norms = [m for m in model.main if isinstance(m, nn.BatchNorm2d)]
    weights = torch.cat([m.weight.detach() for m in norms])
    torch.testing.assert_close(weights.mean().item(), 1.0, rtol=0.005, atol=0)
    torch.testing.assert_close(weights.std().item(), 0.02, rtol=0.1, atol=0)
    assert not torch.cat([m.bias for m in norms]).any()
    bias = model.main[0].bias  # torch's own start: U(-1/sqrt(fan_in), 1/sqrt(fan_in))
    assert bias.std() > 0.5 / 48**0.5
    assert bias.abs().max() <= 48**-0.5


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_patchgan_takes_images_from_its_smallest_side_on(layers: int) -> None:
    config, side = PatchGan.Config(layers=layers, channels=2), 3 * 2**layers
    assert PatchGan(config, (side, 64))(picture(2, side)).shape == (2, 1, 1, 1)
    with pytest.raises(VqcliError, match=f"takes no images of 64 x {side - 1}") as refusal:
        PatchGan(config, (64, side - 1))
    assert f"at least {side} pixels, or fewer layers" in refusal.value.hint
    with pytest.raises(RuntimeError):  # what the user would meet otherwise
        PatchGan(config, (side, side))(picture(2, side - 1))


# StyleGAN


def test_stylegan_is_the_published_network() -> None:
    with torch.device("meta"):
        model = StyleGan(StyleGan.Config(), (256, 256))
        assert model(torch.empty(1, 3, 256, 256)).shape == (1, 1, 1, 1)
    assert sum(p.numel() for p in model.parameters()) == 36_500_225
    assert [block.skip.in_channels for block in model.blocks] == [64, 128, 256, 512, 512, 512]
    assert [block.skip.out_channels for block in model.blocks] == [128, 256, 512, 512, 512, 512]


def blur_by_hand(x: Tensor) -> Tensor:
    y, (height, width) = torch.zeros_like(x), x.shape[2:]
    for i in range(height):
        for j in range(width):
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    row, column = abs(i + di), abs(j + dj)
                    row, column = min(row, 2 * height - 2 - row), min(column, 2 * width - 2 - column)
                    y[:, :, i, j] += x[:, :, row, column] * (2 - abs(di)) * (2 - abs(dj)) / 16
    return y


def test_stylegan_by_hand() -> None:
    model, x = make("stylegan"), picture()
    state = {key.replace(".weight", ".0").replace(".bias", ".1"): p for key, p in model.state_dict().items()}

    def conv(x: Tensor, key: str, stride: int = 1) -> Tensor:
        weight = state[f"{key}.0"]
        return F.conv2d(x, weight, state[f"{key}.1"], stride, padding=weight.shape[-1] // 2)

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    x = leaky(conv(x, "stem.0"))
    for key in ("blocks.0", "blocks.1"):
        y = leaky(conv(leaky(conv(x, f"{key}.branch.0")), f"{key}.branch.2"))
        x = (conv(blur_by_hand(y), f"{key}.branch.5", 2) + conv(x, f"{key}.skip", 2)) / 2**0.5
    assert x.shape == (3, 8, 4, 4)
    x = leaky(conv(x, "head.0")).reshape(3, -1)
    x = leaky(x @ state["head.3.0"].T + state["head.3.1"])
    x = x @ state["head.5.0"].T + state["head.5.1"]
    torch.testing.assert_close(model(picture()), x[:, :, None, None])


def test_blur_keeps_what_is_even_and_takes_away_what_alternates() -> None:
    even = torch.full((1, 2, 4, 4), 3.0)
    torch.testing.assert_close(Blur(2)(even), even)
    alternating = even * torch.tensor([1.0, -1.0, 1.0, -1.0])
    torch.testing.assert_close(Blur(2)(alternating), torch.zeros_like(even))
    assert not Blur(2).state_dict()


@pytest.mark.parametrize("size", [(16, 32), (24, 24), (4, 4), (2, 2)])
def test_stylegan_refuses_other_shapes(size: tuple[int, int]) -> None:
    with pytest.raises(VqcliError, match=f"no images of {size[0]} x {size[1]}") as refusal:
        StyleGan(StyleGan.Config(width=4), size)
    assert "power of two" in refusal.value.hint


@pytest.mark.parametrize("side", [8, 32, 256])
def test_stylegan_takes_powers_of_two(side: int) -> None:
    with torch.device("meta"):
        model = StyleGan(StyleGan.Config(width=4), (side, side))
        assert model(torch.empty(2, 3, side, side)).shape == (2, 1, 1, 1)
