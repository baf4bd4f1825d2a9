"""Published layouts at published sizes give the tokens and images that their authors' code gives.

Weights are drawn from formulas that ``fill.py`` knows, outputs were computed from them by the official code.
Two images each; the network runs on the first in Python, and on the second through the commands.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from tests.parity.fill import write_checkpoint
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.cli.app import app
from vqcli.parts import PARTS
from vqcli.registry import resolve

OURS, SHARED = Path(__file__).parent, Path(os.environ.get("VQCLI_TEST_ASSETS", "nowhere"), "parity")
CASES = {
    "llamagen-vq16": "llamagen",
    "fvq-16k": "fvq",
    "vqgan-lc-f16": "vqgan_lc",
    "taming-f16-1024": "taming",
    "fvq-dit-16k": "fvq",
    "simvq-f8": "simvq",
    "var-vqvae": "var",
}
"""Names of importers; the first three cases lie here, others where ``VQCLI_TEST_ASSETS`` tells."""


@pytest.fixture(params=CASES)
def case(request) -> Path:
    folder = next((root / request.param for root in (OURS, SHARED) if (root / request.param).is_dir()), None)
    if folder is None:
        pytest.skip("VQCLI_TEST_ASSETS names no folder with this case")
    return folder


def vqcli(*arguments) -> None:
    done = CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")
    assert done.exit_code == 0, done.output


def relative(found: Tensor, want: Tensor) -> float:
    return ((found - want).norm() / want.norm()).item()


def eight_bits(images: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] -> (B, H, W, 3) as a PNG has it."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()


def test_one_importer_knows_the_keys(case):
    keys = json.loads((case / "manifest.json").read_text())["tensors"]
    found = [name for name in PARTS["importers"] if resolve("importers", name)().matches(keys)]
    assert found == [CASES[case.name]]


def test_tokens_and_images(case, tmp_path):
    with np.load(case / "golden.npz") as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    want, recon = golden["tokens"].flatten(1), golden["recon"].float()
    model = tmp_path / "model"
    write_checkpoint(case, tmp_path / "a.pt")
    vqcli("import", tmp_path / "a.pt", "-o", model)
    (tmp_path / "a.pt").unlink()

    in_python(model, golden, want, recon, clamped=CASES[case.name] == "var")

    (tmp_path / "in").mkdir()
    Image.fromarray(golden["images"][1].numpy()).save(tmp_path / "in" / "1.png")
    common = ("-m", model, "--device", "cpu")
    tokens = tmp_path / "tokens"
    vqcli("encode", tmp_path / "in", "-o", tokens, "--size", "native", "--num-workers", 0, *common)
    vqcli("decode", tokens, "-o", tmp_path / "out", *common)
    assert found_tokens(tokens).equal(want[1:])
    with Image.open(tmp_path / "out" / "1.png") as written:
        assert np.abs(np.asarray(written, dtype=np.float32) - eight_bits(recon[1:])[0]).max() <= 1


def found_tokens(folder: Path) -> Tensor:
    from vqcli.data.tokens.files import open_tokens

    rows = sorted(open_tokens(folder).rows(None), key=lambda row: row.key)
    return torch.from_numpy(np.stack([row.ids for row in rows]).astype(np.int64))


@torch.inference_mode()
def in_python(folder: Path, golden: dict[str, Tensor], want: Tensor, recon: Tensor, *, clamped: bool) -> None:
    """Latents, codes, tokens and the unrounded image, against what the authors' code gives."""
    tokenizer = load_tokenizer(folder)
    images = golden["images"][:1].permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = tokenizer.latents(images)
    assert relative(latents, golden["latents"][:1]) < 1e-3
    tokens = tokenizer.quantizer.tokenize(latents)
    assert torch.equal(tokens.ids, want[:1])
    codes = tokenizer.quantizer.codes()
    for name, rows in (("codebook_head", codes[:64]), ("codebook_tail", codes[-64:])):
        if name in golden:
            assert relative(rows, golden[name]) < 1e-3
    image = tokenizer.decode_latents(latents, quantize=True)  # the commands decode tokens
    image = image.clamp(-1, 1) if clamped else image
    torch.testing.assert_close(image, recon[:1], rtol=1e-3, atol=1e-3)
