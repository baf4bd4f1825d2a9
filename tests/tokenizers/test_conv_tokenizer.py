"""The convolutional tokenizer: published sizes, options."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from vqcli.errors import VqcliError
from vqcli.tokenizers.conv import ConvTokenizer


def make(**options: Any) -> ConvTokenizer:
    torch.manual_seed(0)
    return ConvTokenizer(ConvTokenizer.Config(**ConvTokenizer.TINY | options))


def picture(height: int = 8, width: int = 12) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("quant_conv", [0, 1, 3])
def test_convolutions_around_the_quantizer(quant_conv: int) -> None:
    book = {"name": "learned", "size": 16, "width": 8 if quant_conv else 32}
    model = make(quant_conv=quant_conv, codebook=book)
    names = {name.partition(".")[0] for name in model.state_dict()}
    assert ("quant_conv" in names) == ("post_quant_conv" in names) == bool(quant_conv)
    assert model(picture())[0].shape == (2, 3, 8, 12)


def test_without_convolutions_the_widths_must_agree() -> None:
    with pytest.raises(VqcliError, match=r"z_channels \(32\) must be the code width \(8\)"):
        make(quant_conv=0)


def test_attention_stands_at_levels_there_are() -> None:
    with pytest.raises(ValidationError, match="between 0 and 2"):
        make(attention_levels=(3,))


@pytest.mark.parametrize(
    ("network", "encoder", "decoder", "tensors"),
    [
        ("vq-16", 29_298_176, 42_449_795, 338),
        ("vq-8", 28_559_232, 41_415_171, 294),
        ("vq-32", 41_101_312, 58_974_595, None),
        ("vq-16-res4", 46_752_256, 59_903_875, None),
    ],
)
def test_published_parameter_counts(network: str, encoder: int, decoder: int, tensors: int | None) -> None:
    with torch.device("meta"):
        model = make(network=network)
    assert sum(p.numel() for p in model.encoder.parameters()) == encoder
    assert sum(p.numel() for p in model.decoder.parameters()) == decoder
    if tensors:  # published files hold q, k and v apart: four more tensors an attention
        names = [name for name in model.state_dict() if name.startswith(("encoder.", "decoder."))]
        assert len(names) + 4 * sum(name.endswith("qkv.weight") for name in names) == tensors


@pytest.mark.parametrize(("width", "total"), [(8, 71_883_403), (256, 76_073_859)])
def test_published_tokenizer_sizes(width: int, total: int) -> None:
    with torch.device("meta"):
        model = make(network="vq-16", codebook={"name": "learned", "size": 16384, "width": width})
    assert sum(p.numel() for p in model.parameters()) == total


@pytest.mark.parametrize(
    ("network", "downsample"),
    [("vq-16-z512", 16), ("vq-16-ch64", 16), ("vq-64-ch64", 64), ("small-4", 4), ("vq-8", 8), ("tiny", 4)],
)
def test_downsample_factors(network: str, downsample: int) -> None:
    with torch.device("meta"):
        model = make(network=network)
        images = torch.empty(1, 3, 2 * downsample, downsample)
        assert model.latents(images).shape[2:] == (2, 1)
    assert model.downsample == downsample
