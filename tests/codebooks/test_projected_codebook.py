"""The projected codebook: SimVQ, VQGAN-LC and FVQ's ablations. Shape letters: K codes, D width, F base."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vqcli.codebooks.projected import ProjectedCodebook
from vqcli.errors import VqcliError


def book(**options: object) -> ProjectedCodebook:
    torch.manual_seed(0)
    return ProjectedCodebook(ProjectedCodebook.Config(**{"size": 64, "width": 4, "base_width": 6} | options))


def test_a_linear_map_of_a_frozen_gaussian_table_is_simvq() -> None:
    codebook = book(size=4000, width=128, base_width=128)
    assert codebook.base.std() == pytest.approx(128**-0.5, rel=0.01)
    torch.testing.assert_close(
        codebook.codes(), codebook.base @ codebook.map[0].weight.T + codebook.map[0].bias
    )
    codebook.codes().sum().backward()
    assert codebook.base.grad is None
    assert {n for n, p in codebook.named_parameters() if p.requires_grad} == {"map.0.weight", "map.0.bias"}


def test_the_table_may_be_uniform_and_trained() -> None:
    codebook = book(base="uniform", train_base=True)
    assert codebook.base.abs().max() <= 1 / 64
    codebook.codes().square().sum().backward()
    assert codebook.base.grad.any()


def test_hidden_layers_have_relu_between() -> None:
    codebook = book(hidden=[5, 7])
    x = codebook.base
    for layer in (codebook.map[0], codebook.map[2]):
        x = torch.relu(x @ layer.weight.T + layer.bias)
    torch.testing.assert_close(codebook.codes(), x @ codebook.map[4].weight.T + codebook.map[4].bias)


def test_the_map_of_vqgan_lc_starts_normal() -> None:
    codebook = book(width=8, base_width=768, map_init="normal")
    assert codebook.map[0].weight.std().item() == pytest.approx(8**-0.5, rel=0.05)
    assert book(width=8, base_width=768).map[0].weight.std() < 0.03


def test_features_from_a_file(tmp_path: Path) -> None:
    features_kf = torch.randn(64, 6)
    save_file({"codes": features_kf.half()}, tmp_path / "features.safetensors")
    codebook = book(base=str(tmp_path / "features.safetensors"))
    assert torch.equal(codebook.base, features_kf.half().float())
    (tmp_path / "features.safetensors").unlink()
    with torch.device("meta"):  # shapes alone: a checkpoint brings the table
        assert ProjectedCodebook(codebook.config).base.shape == (64, 6)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (None, "features.safetensors does not exist"),
        ({"other": torch.zeros(64, 6)}, "features.safetensors cannot be read"),
        (
            {"codes": torch.zeros(64, 5)},
            r"codes of shape \(64, 5\); the recipe wants 64 finite codes of width 6",
        ),
        ({"codes": torch.full((64, 6), torch.nan)}, "numbers that are not finite"),
    ],
)
def test_a_file_that_does_not_serve_is_named(tmp_path: Path, tensors: dict | None, message: str) -> None:
    path = tmp_path / "features.safetensors"
    if tensors:
        save_file(tensors, path)
    with pytest.raises(VqcliError, match=message):
        book(base=str(path))


def test_codes_ignore_autocast() -> None:
    codebook = book()
    with torch.autocast("cpu", torch.bfloat16):
        inside = codebook.codes()
    assert inside.dtype == torch.float32
    assert torch.equal(inside, codebook.codes())
