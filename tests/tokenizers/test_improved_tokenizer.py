"""The improved tokenizer: published sizes and names, biases, adaptive norms. D is the code width."""

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcli.checkpoint.tokenizer import fingerprint
from vqcli.tokenizers.improved import ImprovedTokenizer

PUBLISHED = [
    (r"\.stem\.", ".conv_in."),
    (r"\.mid\.", ".mid_block."),
    (r"\.norm\.", ".norm_out."),
    (r"\.head\.", ".conv_out."),
    (r"\.skip\.", ".nin_shortcut."),
    (r"^encoder\.levels\.", "encoder.down."),
    (r"^decoder\.levels\.(\d+)\.adapt\.", r"decoder.adaptive.\1."),
    (r"^decoder\.levels\.", "decoder.up."),
    (r"\.res\.", ".block."),
    (r"^(encoder.*)\.resize\.", r"\1.downsample."),
    (r"^(decoder.*)\.resize\.", r"\1.upsample.conv1."),
]
"""Our names to those of the published files."""


def make(width: int = 8, **options: Any) -> ImprovedTokenizer:
    torch.manual_seed(0)
    book = {"name": "learned", "size": 16, "width": width, "init": "normal"}
    return ImprovedTokenizer(
        ImprovedTokenizer.Config(**ImprovedTokenizer.TINY | {"codebook": book} | options)
    )


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def pair(name: str) -> set[str]:
    return {f"{name}.weight", f"{name}.bias"}


def test_simvq_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = make(width=128, network="simvq-8")
    assert count(model.encoder) == 24_282_496
    assert count(model.decoder) == 39_851_907


def test_adaptive_norms_fit_what_enters_their_levels() -> None:
    with torch.device("meta"):
        plain, model = (make(width=18, network="open-magvit2-16", adaptive=x) for x in (False, True))
    enters = [128, 256, 256, 512, 512]
    for level, channels in zip(model.decoder.levels, enters):
        assert level.adapt.gamma.weight.shape == level.adapt.beta.weight.shape == (channels, 18)
    assert count(model.decoder) == count(plain.decoder) + sum(2 * (18 * c + c) for c in enters)
    assert count(model.encoder) == count(plain.encoder)


@pytest.mark.parametrize(
    ("network", "downsample"),
    [("open-magvit2-16", 16), ("open-magvit2-8", 8), ("simvq-8", 8), ("improved-small-4", 4)],
)
def test_downsample_factors(network: str, downsample: int) -> None:
    with torch.device("meta"):
        model = make(network=network)
        assert model.latents(torch.empty(1, 3, 2 * downsample, downsample)).shape == (1, 8, 2, 1)
    assert model.downsample == downsample


def test_only_some_convolutions_have_biases() -> None:
    model = make(multipliers=(1, 2, 2))
    convolutions = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    without = {name for name, convolution in convolutions.items() if convolution.bias is None}
    assert set(convolutions) - without == {
        "encoder.levels.0.resize",
        "encoder.levels.1.resize",
        "encoder.head",
        "decoder.stem",
        "decoder.levels.1.resize",
        "decoder.levels.2.resize",
        "decoder.head",
    }
    assert {"encoder.stem", "encoder.levels.1.res.0.skip", "decoder.levels.0.res.0.skip"} < without


def test_state_has_the_published_names_but_for_renames() -> None:
    """Every tensor of the published layout, spelled out for two levels of two blocks."""
    want = {"encoder.conv_in.weight", *pair("encoder.conv_out"), *pair("encoder.down.0.downsample")}
    want |= pair("decoder.conv_in") | pair("decoder.conv_out") | pair("decoder.up.1.upsample.conv1")
    want |= pair("encoder.norm_out") | pair("decoder.norm_out")
    want |= {"encoder.down.1.block.0.nin_shortcut.weight", "decoder.up.0.block.0.nin_shortcut.weight"}
    for i in range(2):
        want |= pair(f"decoder.adaptive.{i}.gamma") | pair(f"decoder.adaptive.{i}.beta")
        for blocks in (
            "encoder.down.{}.block",
            "encoder.mid_block",
            "decoder.up.{}.block",
            "decoder.mid_block",
        ):
            for j in range(2):
                block = f"{blocks.format(i)}.{j}"
                want |= {f"{block}.conv1.weight", f"{block}.conv2.weight"}
                want |= pair(f"{block}.norm1") | pair(f"{block}.norm2")
    found = set()
    for name in make(multipliers=(1, 2), res_blocks=2).state_dict():
        if not name.startswith("quantizer."):
            for pattern, replacement in PUBLISHED:
                name = re.sub(pattern, replacement, name)
            found.add(name)
    assert found == want


def slow_decoder(state: dict[str, Tensor], z: Tensor, levels: int) -> Tensor:
    """The decoder with one res block a level, spelled out; adaptive where the state has adaptive norms."""

    def conv(x: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=weight.shape[2] // 2)

    def norm_swish(x: Tensor, name: str) -> Tensor:
        return F.silu(F.group_norm(x, 32, state[f"{name}.weight"], state[f"{name}.bias"], 1e-6))

    def block(x: Tensor, name: str) -> Tensor:
        h = conv(norm_swish(x, f"{name}.norm1"), f"{name}.conv1")
        h = conv(norm_swish(h, f"{name}.norm2"), f"{name}.conv2")
        return h + (conv(x, f"{name}.skip") if f"{name}.skip.weight" in state else x)

    def adapt(x: Tensor, name: str) -> Tensor:
        scale = F.linear(
            (z.var((2, 3)) + 1e-6).sqrt(), state[f"{name}.gamma.weight"], state[f"{name}.gamma.bias"]
        )
        shift = F.linear(z.mean((2, 3)), state[f"{name}.beta.weight"], state[f"{name}.beta.bias"])
        return F.group_norm(x, 32, eps=1e-6) * scale[:, :, None, None] + shift[:, :, None, None]

    x = block(conv(z, "stem"), "mid.0")
    for i in reversed(range(levels)):
        if f"levels.{i}.adapt.gamma.weight" in state:
            x = adapt(x, f"levels.{i}.adapt")
        x = block(x, f"levels.{i}.res.0")
        if i:
            x = conv(x, f"levels.{i}.resize")
            a, b, c, d = x.chunk(4, dim=1)
            wide = [torch.stack(row, 4).flatten(3) for row in ((a, b), (c, d))]
            x = torch.stack(wide, 3).flatten(2, 3)
    return conv(norm_swish(x, "norm"), "head")


@pytest.mark.parametrize("adaptive", [False, True])
def test_decoder_against_its_formula(adaptive: bool) -> None:
    model = make(adaptive=adaptive, multipliers=(1, 2, 2))
    z = torch.randn(2, 8, 3, 2, generator=torch.Generator().manual_seed(1)) * 3 + 1
    want = slow_decoder(model.decoder.state_dict(), z, levels=3)
    assert want.shape == (2, 3, 12, 8)
    torch.testing.assert_close(model.reconstruct(z), want, rtol=1e-4, atol=1e-5)


def test_an_image_of_one_latent_decodes() -> None:
    """The variance of one position, divided by none, would be no number."""
    assert make()(torch.zeros(2, 3, 4, 4))[0].isfinite().all()


def test_adaptive_norms_decide_no_tokens() -> None:
    assert fingerprint(make(adaptive=True)) == fingerprint(make(adaptive=False))
    assert fingerprint(make(res_blocks=2)) != fingerprint(make())
