"""What every tokenizer must do. Shape letters: B images, D code width."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from tests.options import unread, watched
from vqcli.checkpoint.tokenizer import fingerprint, load_tokenizer, save_tokenizer
from vqcli.errors import VqcliError
from vqcli.parts import PARTS
from vqcli.registry import TokenizerConfig, build, resolve
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import Latents, Standard, TokenizerSpec, Tokens

LEARNED = {"name": "learned", "size": 16, "width": 8, "init": "normal"}
BRIDGED = {"name": "bridged", "size": 64, "width": 8, "bridge": "XS/2"}


@pytest.fixture(params=PARTS["tokenizers"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def make(name: str, **options: Any) -> Tokenizer:
    torch.manual_seed(0)
    part = resolve("tokenizers", name)
    return part(part.Config(**part.TINY | {"codebook": LEARNED} | options))


def picture(model: Tokenizer, extra: int = 0) -> Tensor:
    """Two images of 2x3 latents, ``extra`` pixels too wide."""
    f, generator = model.downsample, torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 2 * f, 3 * f + extra, generator=generator) * 2 - 1


def test_images_to_tokens_and_back(name: str) -> None:
    model = make(name)
    images = picture(model)
    tokens = model.encode(images)
    assert tokens.grid == model.grid(*images.shape[2:]) == ((2, 3),)
    assert tokens.ids.shape == (2, 6)
    reconstruction, quantized = model(images)
    assert reconstruction.shape == images.shape
    assert torch.equal(quantized.tokens.ids, tokens.ids)
    torch.testing.assert_close(model.decode(tokens), reconstruction)
    latents = model.latents(images)
    assert latents.shape == (2, 8, 2, 3)
    torch.testing.assert_close(model.decode_latents(latents, quantize=True), reconstruction)
    assert not torch.allclose(model.decode_latents(latents, quantize=False), reconstruction)


def test_two_doors_for_generators(name: str) -> None:
    """What they see of images, and what becomes of what they make."""
    model, standard = make(name), Standard((0.1,) * 8, (1.5,) * 8)
    images = picture(model)
    tokens, latents = model.represent(images, "tokens"), model.represent(images, "latents")
    assert isinstance(tokens, Tokens)
    assert isinstance(latents, Latents)
    assert torch.equal(tokens.ids, model.encode(images).ids)
    assert torch.equal(latents.values, model.latents(images))
    reconstruction = model.decode(tokens)
    assert torch.equal(model.render(tokens), reconstruction)
    torch.testing.assert_close(model.render(latents), reconstruction)
    torch.testing.assert_close(model.render(latents, quantize=False), model.reconstruct(latents.values))
    changed = latents.standardized(standard)
    torch.testing.assert_close(changed.values, (latents.values - 0.1) / 1.5)
    assert changed.standard == standard
    torch.testing.assert_close(model.render(changed, quantize=False), model.reconstruct(latents.values))


def test_sides_that_do_not_divide_are_refused(name: str) -> None:
    model = make(name)
    f = model.downsample
    for act in (model, model.encode, model.latents, lambda x: model.grid(*x.shape[2:])):
        with pytest.raises(ValueError, match=f"multiples of {f}, not {2 * f} x {3 * f + 1}"):
            act(picture(model, extra=1))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channels": 48}, "multiples of 32 up to 65536, not 48"),
        ({"multipliers": (1, 0, 1)}, "multiples of 32 up to 65536, not 0"),
        ({"network": "vq-12"}, "unknown size 'vq-12'"),
    ],
)
def test_impossible_networks_are_refused(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        make(name, **options)


def test_gradients_reach_every_parameter(name: str) -> None:
    model = make(name)
    reconstruction, quantized = model.train()(picture(model))
    sum(quantized.losses.values(), reconstruction.square().mean()).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_checkpointing_changes_memory_only(name: str) -> None:
    kept: list[int] = []
    gradients = []
    for checkpointing in (False, True):
        model, count = make(name, checkpointing=checkpointing), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, c=count: c.append(x.numel()) or x, lambda x: x
        ):
            reconstruction, quantized = model(picture(model))
        kept.append(sum(count))
        (reconstruction.square().mean() + sum(quantized.losses.values())).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert kept[1] < kept[0] / 2
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_spec_reports_what_others_need(name: str) -> None:
    model = make(name, codebook=BRIDGED)
    f = model.downsample
    assert model.spec == TokenizerSpec(64, 8, f)
    model.image_size, model.fingerprint = (32, 64), "abc"
    assert model.spec == TokenizerSpec(64, 8, f, (32, 64), "abc", ((32 // f, 64 // f),))


def test_baking_keeps_tokens_and_rebuilds_from_its_configuration(name: str) -> None:
    model = make(name, codebook=BRIDGED)
    torch.nn.init.normal_(model.quantizer.codebook.bridge.recover.weight)
    images = picture(model)
    tokens, image = model.encode(images), model(images)[0]
    model.bake()
    assert model.config.codebook.name == "learned"
    stored = model.config.model_dump(mode="json")
    again = build("tokenizers", TypeAdapter(TokenizerConfig).validate_python(stored))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.encode(images).ids, tokens.ids)
    torch.testing.assert_close(again(images)[0], image)


def test_what_is_saved_is_loaded(name: str, tmp_path: Path) -> None:
    model = make(name).eval()
    model.image_size = (8, 8)
    save_tokenizer(model, tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert type(loaded) is type(model)
    assert loaded.config.model_dump(exclude={"codebook"}) == model.config.model_dump(exclude={"codebook"})
    tokens = model.encode(picture(model))
    assert torch.equal(loaded.encode(picture(model)).ids, tokens.ids)
    assert torch.equal(loaded.decode(tokens), model.decode(tokens))
    assert (loaded.image_size, loaded.fingerprint) == ((8, 8), fingerprint(model))


def test_a_model_of_another_shape_is_refused(name: str, tmp_path: Path) -> None:
    save_tokenizer(make(name), tmp_path)
    text = (tmp_path / "config.json").read_text()
    assert '"res_blocks": 1' in text
    (tmp_path / "config.json").write_text(text.replace('"res_blocks": 1', '"res_blocks": 2'))
    with pytest.raises(VqcliError, match=r"do not fit: no .*res"):
        load_tokenizer(tmp_path)


def test_deciding_tensors_and_fields_are_all_that_decides(name: str) -> None:
    model = make(name)
    tokens = model.encode(picture(model))
    assert len(tokens.ids.unique()) > 1
    deciding = model.deciding_tensors()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in deciding.items())
    for parameter_name, parameter in model.named_parameters():
        if parameter_name not in deciding:
            torch.nn.init.normal_(parameter)
    assert torch.equal(model.encode(picture(model)).ids, tokens.ids)
    assert {name.partition(".")[0] for name in deciding} - {"quant_conv"} == {"encoder", "quantizer"}
    same = make(name, checkpointing=True, quantizer={"name": "nearest", "commitment_weight": 9})
    assert same.deciding_fields() == model.deciding_fields()
    for options in ({"quantizer": {"name": "nearest", "metric": "cosine"}}, {"res_blocks": 2}):
        assert make(name, **options).deciding_fields() != model.deciding_fields()


def test_an_autoencoder_makes_latents_of_the_mean_at_its_scale(name: str) -> None:
    none = {"name": "none", "posterior": True, "scale": 0.25, "shift": 0.5}
    model = make(name, codebook={"name": "none", "width": 4}, quantizer=none, **narrow(name)).eval()
    images = picture(model)
    with torch.no_grad():
        features, latents = model.features(images), model.latents(images)
        assert features.shape == (2, 8, 2, 3)
        torch.testing.assert_close(latents, (features[:, :4] - 0.5) * 0.25)
        image = model.decode_latents(latents, quantize=False)
        torch.testing.assert_close(image, model.decoded(features[:, :4]))
        assert torch.equal(model.decode_latents(latents, quantize=True), image)
        made, tokens = model.roundtrip(images)
        assert torch.equal(made, image)
        assert tokens is None
        assert torch.equal(model(images)[0], image)
        with torch.autocast("cpu", torch.bfloat16):
            assert model.latents(images).dtype == torch.float32
    assert model.spec == TokenizerSpec(0, 4, model.downsample)
    for act in (lambda: model.encode(images), lambda: model.decode(model(images)[1].tokens)):
        with pytest.raises(VqcliError, match="makes latents, not tokens"):
            act()


def narrow(name: str) -> dict[str, Any]:
    """Another width between the networks than that of the latents, where there can be one."""
    return {"z_channels": 6} if "z_channels" in resolve("tokenizers", name).Config.model_fields else {}


@pytest.mark.parametrize("change", [{"scale": 0.5}, {"shift": 1.0}, {"posterior": True}], ids=str)
def test_what_decides_latents_is_in_the_fingerprint(name: str, change: dict[str, Any]) -> None:
    book = {"name": "none", "width": 8}
    plain = make(name, codebook=book, quantizer={"name": "none"})
    other = make(name, codebook=book, quantizer={"name": "none"} | change)
    assert plain.deciding_fields() != other.deciding_fields()
    assert fingerprint(plain) != fingerprint(other)
    assert set(plain.deciding_tensors()) == set(other.deciding_tensors())


def test_roundtrip_is_by_tokens(name: str) -> None:
    model = make(name).eval()
    made, tokens = model.roundtrip(picture(model))
    assert tokens is not None
    assert torch.equal(tokens.ids, model.encode(picture(model)).ids)
    assert torch.equal(made, model.decode(tokens))


def test_last_layer_makes_the_image(name: str) -> None:
    model = make(name)
    reconstruction, _ = model(picture(model))
    (gradient,) = torch.autograd.grad(reconstruction.sum(), model.last_layer)
    assert gradient.any()
    assert model.last_layer.shape[0] % 3 == 0  # the colours of a pixel, or of a patch of pixels


def test_every_option_is_read(name: str) -> None:
    part = resolve("tokenizers", name)
    config, seen = watched(part)
    model = part(config)
    model(picture(model))
    assert not unread(part, seen)


def test_every_size_builds(name: str) -> None:
    for network in resolve("tokenizers", name).Config.SIZES:
        with torch.device("meta"):
            model = make(name, network=network)
            f = model.downsample
            assert model(torch.empty(1, 3, 2 * f, f))[0].shape == (1, 3, 2 * f, f)
