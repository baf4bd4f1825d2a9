"""VQBridge: layout, start, sizes. Shape letters: K codes, D width, P patch, T patches."""

import pytest
import torch

from vqcli.nn.bridge import ModulatedBridge, VqBridge, code_grid, sincos_2d


@pytest.mark.parametrize(
    ("size", "patch", "grid"),
    [(16384, 4, (128, 128)), (64, 2, (8, 8)), (32768, 4, (128, 256)), (24, 2, (4, 6)), (7 * 16, 4, (4, 28))],
)
def test_grid_is_the_most_square_one(size: int, patch: int, grid: tuple[int, int]) -> None:
    assert code_grid(size, patch) == grid


@pytest.mark.parametrize(("size", "patch", "nearest"), [(1000, 4, 992), (16383, 8, 16384), (3, 4, 16)])
def test_impossible_size_names_the_nearest(size: int, patch: int, nearest: int) -> None:
    with pytest.raises(ValueError, match=f"multiple of {patch**2}; {nearest} works"):
        code_grid(size, patch)
    assert code_grid(nearest, patch)


@pytest.mark.parametrize("kind", [VqBridge, ModulatedBridge])
def test_starts_at_zero(kind: type[VqBridge]) -> None:
    bridge = kind(64, 8, hidden=16, patch=2, depth=1)
    assert not bridge(torch.randn(64, 8)).any()


@pytest.mark.parametrize("size", [64, 32, 96])
def test_layout_against_loops(size: int) -> None:
    """With no blocks a bridge is patchify, norm, linear, unpatchify: written out one code at a time."""
    patch, width, hidden = 2, 3, 8
    bridge = VqBridge(size, width, hidden=hidden, patch=patch, depth=0)
    torch.nn.init.normal_(bridge.recover.weight)
    torch.nn.init.normal_(bridge.compress.bias)
    base_kd = torch.randn(size, width)
    rows, columns = code_grid(size, patch)
    want_kd = torch.empty(size, width)
    for a in range(rows // patch):
        for b in range(columns // patch):
            ids = [[(a * patch + p) * columns + b * patch + q for q in range(patch)] for p in range(patch)]
            token = bridge.compress.bias + sum(
                bridge.compress.weight[:, :, p, q] @ base_kd[ids[p][q]]
                for p in range(patch)
                for q in range(patch)
            )
            token = (token - token.mean()) / (token.var(unbiased=False) + 1e-6).sqrt()
            out = bridge.recover(token).view(patch, patch, width)
            for p in range(patch):
                for q in range(patch):
                    want_kd[ids[p][q]] = out[p, q]
    torch.testing.assert_close(bridge(base_kd), want_kd, rtol=1e-4, atol=1e-5)


def test_positions_of_a_grid() -> None:
    table = sincos_2d(2, 3, 64)
    first = torch.tensor([0.841471, 0.533168, 0.310984, 0.176892])
    torch.testing.assert_close(table[1, :4], first, rtol=0, atol=1e-6)  # row 0, column 1
    torch.testing.assert_close(table[1, 16:20], first.asin().cos(), rtol=0, atol=1e-6)
    torch.testing.assert_close(table[3, 32:36], first, rtol=0, atol=1e-6)  # row 1, column 0
    assert not table[3, :4].any()


@pytest.mark.parametrize(
    ("hidden", "patch", "plain", "modulated"),
    [
        (256, 4, 3_153_664, 4_075_008),
        (256, 8, 9_457_408, 10_378_752),
        (64, 4, 594_880, 653_184),
        (128, 4, 1_316_736, 1_548_032),
        (512, 4, 8_400_384, 12_078_080),
    ],
)
def test_published_parameter_counts(hidden: int, patch: int, plain: int, modulated: int) -> None:
    for kind, want in ((VqBridge, plain), (ModulatedBridge, modulated)):
        with torch.device("meta"):
            bridge = kind(16384, 256, hidden=hidden, patch=patch, depth=2)
        assert sum(p.numel() for p in bridge.parameters()) == want
