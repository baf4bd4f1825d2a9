"""Stable Diffusion's autoencoder: mean and scale against plain formulas, two layouts, what cannot be ours."""

import json

import pytest
import torch
from safetensors.torch import save_file

from tests.importers.changes import linear_attention
from tests.importers.foreign import CASES, Case, network
from tests.importers.names import DIFFUSERS
from tests.importers.plain_kl import moments
from tests.importers.plain_kl import picture as plain_picture
from tests.tokenizers.test_golden import formula
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.errors import VqcliError
from vqcli.importers.autoencoder_kl import DiffusersKlImporter
from vqcli.importers.containers import Checkpoint
from vqcli.importers.options import ImportOptions
from vqcli.library.import_tokenizer import convert_tokenizer
from vqcli.library.importing import import_model
from vqcli.library.recognition import recognise

CASE = Case(
    "diffusers_kl",
    network((1, 2, 2), (1,), z_channels=4, res_blocks=2),
    {"name": "none", "width": 4},
    DIFFUSERS,
    {"name": "none", "posterior": True, "scale": 0.18215},
    upwards=True,
    change=linear_attention,
)
COMPVIS = CASES["latent diffusion's autoencoder"]
SIZE = ImportOptions(size=(24, 16))


def images():
    return torch.rand(2, 3, 24, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def state():
    return {key: formula(key, tuple(x.shape)) for key, x in CASE.state(CASE.model()).items()}


@torch.inference_mode()
@pytest.mark.parametrize(
    ("settings", "scale", "shift"),
    [
        ({}, 0.18215, 0),
        ({"scaling_factor": 0.13025, "shift_factor": None}, 0.13025, 0),
        ({"scaling_factor": 1.5305, "shift_factor": 0.0609}, 1.5305, 0.0609),
    ],
)
def test_latents_are_the_scaled_mean(state, settings, scale, shift):
    model = convert_tokenizer(DiffusersKlImporter(), state, SIZE, settings)
    mean = moments(state, images())[:, :4]
    assert mean.std() > 0.05
    latents = model.latents(images())
    torch.testing.assert_close(latents, (mean - shift) * scale, rtol=1e-4, atol=1e-5)
    for quantize in (True, False):
        image = model.decode_latents(latents, quantize)
        torch.testing.assert_close(image, plain_picture(state, mean), rtol=1e-4, atol=1e-4)
    assert model.spec.width == 4
    assert (model.spec.codebook_size, model.spec.downsample, model.spec.grid) == (0, 4, ((6, 4),))


def test_what_the_user_tells_goes_before_the_settings(state):
    options = ImportOptions(size=(24, 16), scale=0.5)
    model = convert_tokenizer(DiffusersKlImporter(), state, options, {"scaling_factor": 2.0})
    assert model.quantizer.config.scale == 0.5
    with pytest.raises(VqcliError, match="leaves no --metric open"):
        convert_tokenizer(DiffusersKlImporter(), state, ImportOptions("l2"), {})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scaling_factor": "large"}, "scaling_factor is 'large', no number"),
        ({"shift_factor": float("nan")}, "shift_factor is nan, no number"),
        ({"norm_num_groups": 16}, "norm_num_groups is 16"),
    ],
)
def test_settings_that_cannot_be(state, settings, said):
    with pytest.raises(VqcliError, match=said):
        convert_tokenizer(DiffusersKlImporter(), state, SIZE, settings)


def test_an_encoder_that_gives_no_pairs(state):
    odd = {"encoder.conv_out.weight": torch.ones(7, 64, 3, 3), "encoder.conv_out.bias": torch.ones(7)}
    with pytest.raises(VqcliError, match="gives 7 channels, not a mean and a log-variance"):
        convert_tokenizer(DiffusersKlImporter(), state | odd, SIZE, {})
    alone = {"quant_conv.weight": torch.ones(4, 8, 1, 1)}
    with pytest.raises(VqcliError, match=r"'quant_conv.weight' has shape \(4, 8, 1, 1\)"):
        convert_tokenizer(DiffusersKlImporter(), state | alone, SIZE, {})


@torch.inference_mode()
def test_inside_of_a_whole_diffusion_model(tmp_path):
    """Its network, the text's, and the running averages are left where they are."""
    model = COMPVIS.model()
    inside = {f"first_stage_model.{key}": x for key, x in COMPVIS.state(model).items()}
    others = ("model.diffusion_model.out.weight", "model_ema.diffusion_modeloutweight", "betas")
    whole = inside | {key: torch.ones(3) for key in others}
    found = recognise(tmp_path, [Checkpoint(whole, "state_dict")])
    assert (found.layout, found.inside, found.averaged) == ("compvis_kl", "first_stage_model.", False)
    assert found.left_out == {"model": 1, "model_ema": 1, "betas": 1}
    made = convert_tokenizer(found.importer, found.state, SIZE, {})
    assert torch.equal(made.latents(images()), model.latents(images()))
    del whole["first_stage_model.decoder.mid.block_1.conv1.bias"]
    found = recognise(tmp_path, [Checkpoint(whole, "state_dict")])
    with pytest.raises(VqcliError, match=r"lacks 'decoder\.mid.block_1\.conv1\.bias'"):
        convert_tokenizer(found.importer, found.state, SIZE, {})


@torch.inference_mode()
def test_a_file_becomes_a_folder(tmp_path, state):
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(state, path)
    made = import_model(path, tmp_path / "guessed", SIZE)
    assert made.assumptions() == {"scale": "latents times 0.18215"}
    assert "does not tell: scale." in (tmp_path / "guessed" / "README.md").read_text()
    (tmp_path / "config.json").write_text(json.dumps({"scaling_factor": 0.25, "latent_channels": 4}))
    made = import_model(path, tmp_path / "told", SIZE)
    assert made.assumptions() == {}
    assert (made.record["scale"], made.codebook_size, made.width) == (0.25, 0, 4)
    loaded = load_tokenizer(tmp_path / "told")
    want = moments(state, images())[:, :4] * 0.25
    torch.testing.assert_close(loaded.latents(images()), want, rtol=1e-4, atol=1e-5)
    assert loaded.fingerprint == made.fingerprint != load_tokenizer(tmp_path / "guessed").fingerprint
    card = (tmp_path / "told" / "README.md").read_text()
    assert "An autoencoder without a codebook" in card
    assert "Latents of width 4, one for 4x4 of 24x16 pixels" in card
    assert not (tmp_path / "told" / "codebook.safetensors").exists()
