"""The convolutional tokenizer: contract, sizes, options. Shape letters: B images, D code width."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from vqcli.errors import VqcliError
from vqcli.tokenizers.conv import ConvTokenizer
from vqcli.types import TokenizerSpec

BRIDGED = {"name": "bridged", "size": 64, "width": 8, "bridge": "XS/2"}


def make(**options: Any) -> ConvTokenizer:
    torch.manual_seed(0)
    return ConvTokenizer(ConvTokenizer.Config(**ConvTokenizer.TINY | options))


def picture(height: int = 8, width: int = 12) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_images_to_tokens_and_back() -> None:
    model, images = make(), picture()
    tokens = model.encode(images)
    assert tokens.grid == model.grid(8, 12) == ((2, 3),)
    assert tokens.ids.shape == (2, 6)
    reconstruction, quantized = model(images)
    assert reconstruction.shape == images.shape
    assert torch.equal(quantized.tokens.ids, tokens.ids)
    torch.testing.assert_close(model.decode(tokens), reconstruction)
    latents = model.latents(images)
    torch.testing.assert_close(model.decode_latents(latents, quantize=True), reconstruction)
    assert not torch.allclose(model.decode_latents(latents, quantize=False), reconstruction)


def test_sides_that_do_not_divide_are_refused() -> None:
    model = make()
    for act in (model, model.encode, model.latents, lambda x: model.grid(*x.shape[2:])):
        with pytest.raises(ValueError, match="multiples of 4, not 8 x 10"):
            act(picture(8, 10))


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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channels": 48}, "multiples of 32, not 48"),
        ({"multipliers": (1, 0, 1)}, "multiples of 32, not 0"),
        ({"attention_levels": (3,)}, "between 0 and 2"),
        ({"network": "vq-12"}, "unknown size 'vq-12'"),
    ],
)
def test_impossible_networks_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        make(**options)


def test_checkpointing_changes_memory_only() -> None:
    kept: list[int] = []
    gradients = []
    for checkpointing in (False, True):
        model, count = make(checkpointing=checkpointing), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, c=count: c.append(x.numel()) or x, lambda x: x
        ):
            reconstruction, quantized = model(picture())
        kept.append(sum(count))
        (reconstruction.square().mean() + sum(quantized.losses.values())).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert kept[1] < kept[0] / 2
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_spec_reports_what_others_need() -> None:
    model = make(codebook=BRIDGED)
    assert model.spec == TokenizerSpec(64, 8, 4)
    model.image_size, model.fingerprint = (32, 64), "abc"
    assert model.spec == TokenizerSpec(64, 8, 4, (32, 64), "abc")


def test_baking_keeps_tokens_and_rebuilds_from_its_configuration() -> None:
    model = make(codebook=BRIDGED)
    torch.nn.init.normal_(model.quantizer.codebook.bridge.recover.weight)
    tokens, image = model.encode(picture()), model(picture())[0]
    model.bake()
    assert model.config.codebook.name == "learned"
    again = ConvTokenizer(ConvTokenizer.Config(**model.config.model_dump(mode="json")))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.encode(picture()).ids, tokens.ids)
    torch.testing.assert_close(again(picture())[0], image)


def test_deciding_tensors_and_fields_are_all_that_decides() -> None:
    model = make()
    tokens = model.encode(picture())
    deciding = model.deciding_tensors()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in deciding.items())
    for name, parameter in model.named_parameters():
        if name not in deciding:
            torch.nn.init.normal_(parameter)
    assert torch.equal(model.encode(picture()).ids, tokens.ids)
    assert {name.partition(".")[0] for name in deciding} == {"encoder", "quant_conv", "quantizer"}
    same = make(checkpointing=True, quantizer={"name": "nearest", "commitment_weight": 9})
    assert same.deciding_fields() == model.deciding_fields()
    for options in ({"quantizer": {"name": "nearest", "metric": "cosine"}}, {"res_blocks": 2}):
        assert make(**options).deciding_fields() != model.deciding_fields()


def test_last_layer_makes_the_image() -> None:
    model = make()
    reconstruction, _ = model(picture())
    (gradient,) = torch.autograd.grad(reconstruction.sum(), model.last_layer)
    assert gradient.any()
    assert model.last_layer.shape == (3, 32, 3, 3)


def test_every_option_is_read() -> None:
    seen: set[str] = set()

    class Recorder(ConvTokenizer.Config):
        def __getattribute__(self, field: str) -> Any:
            seen.add(field)
            return super().__getattribute__(field)

    config = Recorder(**ConvTokenizer.TINY)
    seen.clear()
    ConvTokenizer(config)(picture())
    assert not set(ConvTokenizer.Config.model_fields) - {"name"} - seen


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
