"""Blocks of the improved network against their formulas. Shape letters: see ``vqcli.nn.improved``."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vqcli.nn.conv import Level, ResBlock
from vqcli.nn.improved import (
    AdaptiveLevel,
    AdaptiveNorm,
    Upsample,
    depth_to_space,
    downsample,
    middle,
    statistics,
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_depth_to_space_has_the_published_order() -> None:
    pixel = torch.arange(8.0).view(1, 8, 1, 1)
    assert depth_to_space(pixel).tolist() == [[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]]


def test_depth_to_space_keeps_pixels_where_they_are() -> None:
    x = noise(2, 12, 3, 5)
    y = depth_to_space(x)
    assert y.shape == (2, 3, 6, 10)
    for c in range(3):
        for r in range(2):
            for s in range(2):
                assert torch.equal(y[:, c, r::2, s::2], x[:, (2 * r + s) * 3 + c])


def test_upsample_is_a_convolution_and_depth_to_space() -> None:
    block, x = Upsample(4), noise(2, 4, 3, 5)
    assert block.weight.shape == (16, 4, 3, 3)
    assert block.bias is not None
    y = F.conv2d(F.pad(x, (1, 1, 1, 1)), block.weight, block.bias)
    torch.testing.assert_close(block(x)[:, 2, 1::2, 0::2], y[:, 2 * 4 + 2])


def test_downsample_pads_all_sides() -> None:
    block, x = downsample(4), noise(2, 4, 6, 8)
    assert block.bias is not None
    padded, slow = torch.zeros(2, 4, 8, 10), torch.empty(2, 4, 3, 4)
    padded[:, :, 1:-1, 1:-1] = x
    for i in range(3):
        for j in range(4):
            window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            slow[:, :, i, j] = torch.einsum("bcij,ocij->bo", window, block.weight) + block.bias
    torch.testing.assert_close(block(x), slow)


def test_res_blocks_have_no_biases() -> None:
    block, x = ResBlock(32, 64, bias=False), noise(2, 32, 4, 4)
    names = {name for name, _ in block.named_parameters()}
    assert names == {
        *(f"norm{i}.{leaf}" for i in (1, 2) for leaf in ("weight", "bias")),
        *(f"{conv}.weight" for conv in ("conv1", "conv2", "skip")),
    }
    h = F.conv2d(F.silu(F.group_norm(x, 32, eps=1e-6)), block.conv1.weight, padding=1)
    h = F.conv2d(F.silu(F.group_norm(h, 32, eps=1e-6)), block.conv2.weight, padding=1)
    torch.testing.assert_close(block(x), F.conv2d(x, block.skip.weight) + h)
    assert [len(list(part.named_parameters())) for part in middle(32, 3)] == [6, 6, 6]


def test_statistics_are_those_of_a_sample() -> None:
    z = noise(2, 5, 3, 4)
    spread_bd, mean_bd = statistics(z)
    for b in range(2):
        for d in range(5):
            values = z[b, d].double().flatten().tolist()
            mean = sum(values) / 12
            variance = sum((value - mean) ** 2 for value in values) / 11
            torch.testing.assert_close(mean_bd[b, d].item(), mean, rtol=0, atol=1e-6)
            torch.testing.assert_close(spread_bd[b, d].item(), (variance + 1e-6) ** 0.5, rtol=0, atol=1e-6)


def test_a_single_position_does_not_vary() -> None:
    z = noise(2, 5, 1, 1).requires_grad_()
    spread_bd, mean_bd = statistics(z)
    torch.testing.assert_close(spread_bd, torch.full((2, 5), 1e-3))
    assert torch.equal(mean_bd, z[:, :, 0, 0])
    (gradient,) = torch.autograd.grad(spread_bd.sum(), z)
    assert gradient.isfinite().all()


def test_adaptive_norm_against_its_formula() -> None:
    block, x = AdaptiveNorm(5, 64), noise(2, 64, 3, 4)
    spread_bd, mean_bd = noise(2, 5, seed=1).abs(), noise(2, 5, seed=2)
    assert {name for name, _ in block.named_parameters()} == {
        f"{linear}.{leaf}" for linear in ("gamma", "beta") for leaf in ("weight", "bias")
    }
    slow = torch.empty_like(x)
    for b in range(2):
        for c in range(64):
            group = x[b, c // 2 * 2 : c // 2 * 2 + 2]
            normal = (x[b, c] - group.mean()) / (group.var(unbiased=False) + 1e-6).sqrt()
            scale = block.gamma.weight[c] @ spread_bd[b] + block.gamma.bias[c]
            shift = block.beta.weight[c] @ mean_bd[b] + block.beta.bias[c]
            slow[b, c] = normal * scale + shift
    torch.testing.assert_close(block(x, spread_bd, mean_bd), slow, rtol=1e-4, atol=1e-5)


def test_an_adaptive_level_starts_with_its_norm() -> None:
    level, x = AdaptiveLevel([64, 32, 32], Upsample(32), width=5), noise(2, 64, 2, 3)
    style = noise(2, 5, seed=1).abs(), noise(2, 5, seed=2)
    plain = Level([64, 32, 32], Upsample(32), attention=False, bias=False)
    shared = {name: x for name, x in level.state_dict().items() if not name.startswith("adapt.")}
    plain.load_state_dict(shared)
    torch.testing.assert_close(level(x, *style), plain(level.adapt(x, *style)))
    assert level(x, *style).shape == (2, 32, 4, 6)
