"""A model without a codebook, as a user meets it: trained, imported, measured; refused where tokens are."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.cli.said import refused
from tests.importers.foreign import CASES
from tests.models import make_autoencoder
from tests.training.tiny import write_recipe
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.cli.app import app
from vqcli.data.tokens.latents import open_latent_rows
from vqcli.pixels import normalize

NO_CODES = "this model has no codebook: it makes latents, not tokens"
QUICK = ("--device", "cpu", "--num-workers", 0)


def vqcli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")


def rows_of(done):
    assert done.exit_code == 0, done.output
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_autoencoder(tmp_path_factory.mktemp("models") / "model", posterior=True, scale=0.18215)


def test_what_needs_tokens_is_refused_before_anything_is_written(tmp_path, model):
    np.save(tmp_path / "t.npy", np.zeros((2, 4, 4), np.uint8))
    before = sorted(tmp_path.iterdir())
    for command in (
        ("encode", "demo:4", "-o", tmp_path / "e.npy", "-m", model, *QUICK),
        ("encode", "demo:4", "-o", tmp_path / "e", "-m", model, *QUICK),
        ("decode", tmp_path / "t.npy", "-o", tmp_path / "d", "-m", model, "--device", "cpu"),
        ("usage-report", model),
        ("usage-report", model, "--images", "demo:4", *QUICK),
        ("prune", model, "-o", tmp_path / "p", "--images", "demo:4", *QUICK),
        ("prune", model, "-o", tmp_path / "p", "--tokens", tmp_path / "t.npy", *QUICK),
    ):
        assert refused(vqcli(*command), NO_CODES, "for tokens name another tokenizer: vqcli list models")
    assert sorted(tmp_path.iterdir()) == before


def test_a_generator_of_tokens_is_not_trained_on_it(tmp_path, model):
    asked = ("gpt-demo", "--tokenizer", model, "--set", "training.batch_size=4", "--data", "demo:64")
    hint = "name a tokenizer that has a codebook"
    done = vqcli("train", *asked, "-o", tmp_path / "run", "--device", "cpu")
    assert refused(done, "gpt generates tokens, but its tokenizer has no codebook", hint)
    assert not (tmp_path / "run").exists()
    done = vqcli("check", "gpt-demo", "--set", "tokenizer=sd-vae-ft-mse")
    assert refused(done, "gpt generates tokens, but its tokenizer has no codebook", hint)


def test_what_is_told(model):
    told = rows_of(vqcli("info", model))
    print_ = told.pop("fingerprint")
    assert len(print_) == 64
    assert told == {
        "folder": str(model),
        "kind": "tokenizer, no quantizer, scale 0.18215, shift 0.0",
        "latents": "of width 4, no codebook",
        "images": "8x8 pixels, a latent for 2x2",
        "weights": told["weights"],
    }
    value = json.loads(vqcli("info", model, "--json").stdout)
    assert (value["codebook_size"], value["width"], value["usage"]) == (0, 4, None)
    assert "\n# An autoencoder without a codebook\n" in (model / "README.md").read_text()
    for kind in ("quantizers", "codebooks"):
        assert "none" in vqcli("list", kind, "-q").stdout.split()
    (line,) = [text for text in vqcli("list", "models").stdout.splitlines() if "sd-vae-ft-mse" in text]
    assert line.split()[1] == "none"


def test_reconstructions_are_measured_without_usage(model):
    asked = ("evaluate", model, "--images", "demo:4", *QUICK)
    found = json.loads(vqcli(*asked, "--metrics", "psnr", "--json").stdout)
    assert set(found["results"]) == {"psnr"}
    counted = vqcli(*asked, "--metrics", "psnr,usage")
    assert refused(
        counted, "usage cannot be measured: it counts codes, and this model has no", "leave it out"
    )
    recorded = vqcli(*asked, "--metrics", "psnr", "--record")
    assert refused(recorded, "has no codebook, and --record keeps the usage of one", "leave it out")


@torch.inference_mode()
def test_latents_are_kept_at_their_scale(tmp_path, model):
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(tmp_path / "a.png")
    asked = ("-o", tmp_path / "latents", "--latents", "float32", "-m", model, *QUICK)
    done = vqcli("encode", tmp_path / "a.png", *asked)
    assert done.exit_code == 0, done.output
    rows = open_latent_rows(tmp_path / "latents")
    (found,) = rows.latents(np.array([0]), np.array([0]))
    images = normalize(torch.arange(192, dtype=torch.uint8).view(8, 8, 3).permute(2, 0, 1)[None])
    tokenizer = load_tokenizer(model)
    mean = tokenizer.features(images)[0, :4]
    np.testing.assert_allclose(found, (mean * 0.18215).numpy(), atol=1e-6)
    assert rows.info.fingerprint == tokenizer.fingerprint


def test_training_one(tmp_path):
    asked = ("tokenizer.quantizer=none", "tokenizer.codebook={name: none, width: 6}", "data.size=16")
    few = ("training.steps=2", "training.batch_size=4")
    given = [x for setting in (*asked, *few) for x in ("--set", setting)]
    done = vqcli("train", write_recipe(tmp_path), "-o", tmp_path / "run", *given, "--device", "cpu")
    assert done.exit_code == 0, done.output
    first, second, third, fourth = done.stdout.splitlines()
    assert first.startswith(f"{tmp_path}/run/model  2 steps in")
    assert second.startswith("PSNR ")
    assert third.startswith(f"look at {tmp_path}/run/samples/step-")
    assert fourth == f"Next: vqcli encode IMAGES -o latents/ --latents float16 -m {tmp_path}/run"
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "Reconstructions of 8 held-out images of demo:64: PSNR " in card
    assert "Utilization" not in card
    assert not (tmp_path / "run" / "model" / "usage.json").exists()
    alone = vqcli("train", write_recipe(tmp_path), "-o", tmp_path / "b", *given[:2], "--device", "cpu")
    assert refused(
        alone, "leaves latents as they are; a codebook 'bridged' has codes", "{name: none, width: 8}"
    )


def test_starting_from_another_model(tmp_path, model):
    asked = ("tokenizer.quantizer=none", "tokenizer.codebook={name: none, width: 8}", "training.steps=1")
    given = [x for setting in asked for x in ("--set", setting)]
    recipe = write_recipe(tmp_path)
    vqcli("train", recipe, "-o", tmp_path / "vq", "--set", "training.steps=1", "--device", "cpu")
    done = vqcli("train", recipe, "-o", tmp_path / "ae", "--init", tmp_path / "vq", *given, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "name nearest -> none; the model's codebook is left out\n" in done.stderr
    again = vqcli("train", recipe, "-o", tmp_path / "c", "--init", tmp_path / "ae", *given, "--device", "cpu")
    assert f"starting from {tmp_path}/ae/checkpoints/step-00000001\n" in again.stderr


def test_importing_one(tmp_path):
    case = CASES["latent diffusion's autoencoder"]
    torch.save({"state_dict": case.state(case.model())}, tmp_path / "kl.ckpt")
    told = rows_of(vqcli("import", tmp_path / "kl.ckpt", "-o", tmp_path / "out"))
    assert told["latents"] == "of width 4, no codebook"
    assert told["scale"] == "0.18215 (the file does not tell: --scale)"
    assert "metric" not in told
    options = ("--scale", 0.5, "--size", 64)
    told = rows_of(vqcli("import", tmp_path / "kl.ckpt", "-o", tmp_path / "b", *options))
    assert (told["scale"], told["images"]) == ("0.5", "64x64 pixels, a latent for 4x4")
    asked = ("evaluate", tmp_path / "b", "--images", "demo:2", "--metrics", "psnr", "--json", *QUICK)
    assert np.isfinite(json.loads(vqcli(*asked).stdout)["results"]["psnr"])
