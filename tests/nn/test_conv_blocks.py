"""Blocks of the convolutional networks against their formulas."""

import torch
import torch.nn.functional as F

from vqcli.nn.conv import AttentionBlock, Downsample, ResBlock, Upsample


def test_attention_against_its_formula() -> None:
    block, x = AttentionBlock(32), torch.randn(2, 32, 3, 5)
    q, k, v = block.qkv(block.norm(x)).flatten(2).chunk(3, dim=1)
    weights = (torch.einsum("bci,bcj->bij", q, k) * 32**-0.5).softmax(-1)
    mixed = torch.einsum("bij,bcj->bci", weights, v).view_as(x)
    torch.testing.assert_close(block(x), x + block.out(mixed), rtol=1e-4, atol=1e-5)


def test_res_block_against_its_formula() -> None:
    block, x = ResBlock(32, 64), torch.randn(2, 32, 4, 4)
    h = block.conv1(F.silu(F.group_norm(x, 32, block.norm1.weight, block.norm1.bias, 1e-6)))
    h = block.conv2(F.silu(F.group_norm(h, 32, block.norm2.weight, block.norm2.bias, 1e-6)))
    torch.testing.assert_close(block(x), block.skip(x) + h)


def test_downsample_pads_right_and_bottom() -> None:
    block, x = Downsample(1), torch.arange(16.0).view(1, 1, 4, 4)
    torch.nn.init.zeros_(block.weight)
    torch.nn.init.zeros_(block.bias)
    block.weight.data[0, 0, 0, 0] = 1
    assert block(x).flatten().tolist() == [0, 2, 8, 10]


def test_upsample_repeats_pixels() -> None:
    block, x = Upsample(1), torch.tensor([[[[1.0, 2.0]]]])
    torch.nn.init.zeros_(block.weight)
    torch.nn.init.zeros_(block.bias)
    block.weight.data[0, 0, 1, 1] = 1
    assert block(x).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]
