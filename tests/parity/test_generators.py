"""LlamaGen's GPT-B, as published, gives the logits and the tokens that its authors' code gives.

Weights are drawn from a formula that ``fill.py`` knows, outputs were computed from them by the official code.
Shape letters: B images, T positions, L tokens an image, K codes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from tests.parity.fill import write_checkpoint
from vqcli.checkpoint.generator import load_generator
from vqcli.cli.app import app
from vqcli.generators.gpt import Gpt
from vqcli.generators.sampling import SamplingConfig
from vqcli.parts import PARTS
from vqcli.registry import resolve

CASE = Path(__file__).parent / "llamagen-gpt-b"
GREEDY, AGAIN = 32, 8
"""Tokens that the case tells of greedy decoding, and those that are also made without a cache."""


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(CASE / "golden.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def vqcli(*arguments) -> None:
    done = CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Iterator[Path]:
    """The checkpoint, imported by the command."""
    folder = tmp_path_factory.mktemp("gpt")
    write_checkpoint(CASE, folder / "c2i_B_256.pt")
    vqcli("import", folder / "c2i_B_256.pt", "-o", folder / "model")
    (folder / "c2i_B_256.pt").unlink()
    yield folder / "model"
    (folder / "model" / "model.safetensors").unlink()


@pytest.fixture(scope="module")
def generator(model) -> Gpt:
    found = load_generator(model)
    assert isinstance(found, Gpt)
    return found


def test_one_importer_knows_the_keys():
    keys = json.loads((CASE / "manifest.json").read_text())["tensors"]
    assert len(keys) == 88
    found = [name for name in PARTS["importers"] if resolve("importers", name)().matches(keys)]
    assert found == ["llamagen_gpt"]


def test_what_was_read_from_shapes(generator):
    config = generator.config
    assert config == Gpt.Config(size="B", sampling={"cfg": 2.0})
    assert (generator.spec.codebook_size, generator.grid) == (16_384, ((16, 16),))
    assert sum(p.numel() for p in generator.parameters()) == 110_888_448


@torch.inference_mode()
def test_teacher_forced_logits(generator, golden):
    found = generator.logits(golden["labels"], golden["input_tokens"][:, :-1])
    rows = found[:, golden["logit_positions"]][..., ::8]
    want = golden["logits"]
    assert ((rows - want).norm() / want.norm()).item() < 1e-3
    assert torch.equal(rows.argmax(-1), want.argmax(-1))


def greedy(generator: Gpt, labels: Tensor, cfg: float) -> Tensor:
    """The first tokens of images of these labels, the likeliest each time."""
    streams = [np.random.default_rng(i) for i in range(len(labels))]
    return generator.sample(labels, streams, SamplingConfig(cfg=cfg, top_k=1)).ids


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_greedy_tokens(generator, golden, cfg, monkeypatch):
    """Two images at once, one alone, and eight: the cache holds what each of them has seen."""
    monkeypatch.setattr(generator, "length", GREEDY)
    labels, want = golden["labels"], golden[f"greedy_tokens_cfg{cfg:.0f}"].long()
    assert torch.equal(greedy(generator, labels, cfg), want)
    assert torch.equal(greedy(generator, labels[1:], cfg), want[1:])
    assert torch.equal(greedy(generator, labels.repeat(4), cfg), want.repeat(4, 1))


def test_greedy_tokens_through_the_command(model, golden, tmp_path):
    """Whole images, and no tokenizer is needed."""
    classes = [word for label in golden["labels"].tolist() for word in ("--prompt-class", label)]
    greedily = ("--top-k", 1, "--cfg", 2, "-n", 1, "--tokens-only")
    vqcli("generate", *classes, *greedily, "-m", model, "-o", tmp_path / "tokens.npy", "--device", "cpu")
    tokens = np.load(tmp_path / "tokens.npy")
    assert tokens.shape == (2, 16, 16)
    assert np.array_equal(tokens.reshape(2, 256)[:, :GREEDY], golden["greedy_tokens_cfg2"])


@pytest.mark.parametrize("cfg", [1.0, 2.0])
@torch.inference_mode()
def test_greedy_tokens_without_cache(generator, golden, cfg):
    """Every prefix anew, conditional and unconditional apart."""
    labels, want = golden["labels"], golden[f"greedy_tokens_cfg{cfg:.0f}"].long()[:, :AGAIN]
    nothing, ids = torch.full_like(labels, 1000), want[:, :0]
    for _ in range(AGAIN):
        logits = generator.logits(labels, ids)[:, -1]
        without = generator.logits(nothing, ids)[:, -1]
        ids = torch.cat([ids, (without + (logits - without) * cfg).argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(ids, want)
