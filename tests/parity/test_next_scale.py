"""VAR-d16, as published, on its paper's tokenizer: the logits and the image that its authors' code gives.

Weights are drawn from a formula that ``fill.py`` knows, outputs were computed from them by the official code.
Both checkpoints together are 1.7 GB: a slow test.
Shape letters: B images, L tokens of all scales, K codes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from tests.parity.fill import write_checkpoint
from vqcli.checkpoint.generator import load_generator
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.cli.app import app
from vqcli.generators.var import Var, VarConfig
from vqcli.parts import PARTS
from vqcli.registry import resolve

CASES = Path(os.environ.get("VQCLI_TEST_ASSETS", "nowhere"), "parity")
GENERATOR, TOKENIZER = CASES / "var-d16", CASES / "var-vqvae"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not GENERATOR.is_dir(), reason="VQCLI_TEST_ASSETS names no folder with this case"),
]


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GENERATOR / "golden.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def vqcli(*arguments) -> None:
    done = CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Iterator[Path]:
    """Both checkpoints, imported by the command."""
    folder = tmp_path_factory.mktemp("var")
    for case, name in ((TOKENIZER, "vae.pth"), (GENERATOR, "var_d16.pth")):
        write_checkpoint(case, folder / name)
    vqcli("import", folder / "vae.pth", "-o", folder / "vae")
    vqcli("import", folder / "var_d16.pth", "-o", folder / "model", "--tokenizer", folder / "vae")
    for name in ("vae.pth", "var_d16.pth"):
        (folder / name).unlink()
    yield folder / "model"
    (folder / "model" / "model.safetensors").unlink()


@pytest.fixture(scope="module")
def generator(model) -> Var:
    found = load_generator(model)
    assert isinstance(found, Var)
    found.attach(load_tokenizer(model / "tokenizer"))
    return found


def relative(found: Tensor, want: Tensor) -> float:
    return ((found - want).norm() / want.norm()).item()


def test_one_importer_knows_the_keys():
    keys = json.loads((GENERATOR / "manifest.json").read_text())["tensors"]
    found = [name for name in PARTS["importers"] if resolve("importers", name)().matches(keys)]
    assert found == ["var_generator"]


def test_what_was_read_from_shapes(generator):
    asked = {"cfg": 1.5, "top_k": 900, "top_p": 0.96}
    assert generator.config == VarConfig(size="d16", sampling=asked)
    assert len(generator.grid) == 10
    assert sum(p.numel() for p in generator.parameters()) == 310_283_520


@torch.inference_mode()
def test_teacher_forced_logits(generator, golden):
    ids = golden["input_tokens"]
    assert relative(generator.teacher(ids), golden["var_input"].float()) < 1e-3
    found = generator.logits(golden["labels"], ids)[:, golden["logit_positions"]][..., ::4]
    assert relative(found, golden["logits"]) < 1e-3


def test_the_greedy_image(model, golden, tmp_path):
    """Through the command: within one 8-bit level of the golden image."""
    label = int(golden["labels"][0])
    greedily = ("--top-k", 1, "--cfg", 1.5, "-n", 1, "-b", 1)
    vqcli(
        "generate", "--prompt-class", label, *greedily, "-m", model, "-o", tmp_path / "g", "--device", "cpu"
    )
    (path,) = (tmp_path / "g").glob("*.png")
    found = np.asarray(Image.open(path), dtype=np.int64)
    want = (golden["greedy_image_cfg1_5"][0].float() * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(found - want).max() <= 1


@torch.inference_mode()
def test_the_greedy_image_in_python(generator, model, golden):
    sampling = generator.config.sampling.model_copy(update={"top_k": 1})
    made = generator.sample(golden["labels"], [np.random.default_rng(0)], sampling)
    image = (load_tokenizer(model / "tokenizer").render(made).clamp(-1, 1) + 1) / 2
    want = golden["greedy_image_cfg1_5"].float()
    assert ((image - want).abs() <= 1e-3 + 1e-3 * want.abs()).all()
