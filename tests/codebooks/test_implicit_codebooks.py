"""Codebooks without a table, against published numbers and the search they save. Shape letters: M vectors."""

import itertools

import pytest
import torch
from torch import Tensor

from vqcli.codebooks.base import Codebook
from vqcli.codebooks.levels import LevelsCodebook
from vqcli.codebooks.sign import SignCodebook
from vqcli.nn.nearest import nearest_codes
from vqcli.quantizers.nearest import NearestQuantizer


def sign(bits: int = 4, **options: object) -> SignCodebook:
    return SignCodebook(SignCodebook.Config(bits=bits, **options))


def levels(*values: int) -> LevelsCodebook:
    return LevelsCodebook(LevelsCodebook.Config(levels=values))


def tokens_of(codebook: Codebook, vectors_md: list[list[float]]) -> list[int]:
    quantizer = NearestQuantizer(NearestQuantizer.Config(), codebook)
    return quantizer.tokenize(torch.tensor(vectors_md)[:, :, None, None]).ids[:, 0].tolist()


def test_both_published_bit_orders() -> None:
    assert tokens_of(sign(), [[1, -1, -1, -1]]) == [1]
    assert tokens_of(sign(first_bit="highest"), [[1, -1, -1, -1]]) == [8]


def test_zero_counts_as_minus_one() -> None:
    assert tokens_of(sign(), [[0, 0, 0, 1]]) == [8]


@pytest.mark.parametrize("first_bit", ["lowest", "highest"])
@pytest.mark.parametrize("bits", [1, 5])
def test_signs_are_the_nearest_corners(bits: int, first_bit: str) -> None:
    codebook, vectors_md = sign(bits, first_bit=first_bit), torch.randn(200, bits)
    codes_kd = codebook.codes()
    assert sorted(map(tuple, codes_kd.tolist())) == sorted(itertools.product([-1, 1], repeat=bits))
    assert torch.equal(codebook.assign(vectors_md, codes_kd), nearest_codes(vectors_md, codes_kd))
    assert torch.equal(codebook.assign(codes_kd, codes_kd), torch.arange(2**bits))


def test_published_fsq_tokens() -> None:
    codebook = levels(8, 5, 5, 5)
    latents = [[0, 0, 0, 0], [1.3, -0.4, 0.9, -2], [-3, 3, -0.2, 0.2]]
    assert tokens_of(codebook, latents) == [500, 135, 512]
    want = [[0, 0, 0, 0], [0.75, -0.5, 0.5, -1], [-1, 1, 0, 0]]
    assert codebook.codes()[[500, 135, 512]].tolist() == want


@pytest.mark.parametrize("values", [(8, 5, 5, 5), (2, 3), (7,), (4, 4, 6)])
def test_levels_are_the_nearest_codes_of_squashed_latents(values: tuple[int, ...]) -> None:
    codebook, latents = levels(*values), 3 * torch.randn(50, len(values), 2, 2)
    bounded = codebook.prepare(latents)
    assert bounded.abs().max() < 1.26
    vectors_md, codes_kd = bounded.permute(0, 2, 3, 1).reshape(-1, len(values)), codebook.codes()
    scaled = torch.tensor([v // 2 for v in values])  # a step of each channel is a rounding step then
    assert torch.equal(
        codebook.assign(vectors_md, codes_kd), nearest_codes(vectors_md * scaled, codes_kd * scaled)
    )
    assert torch.equal(codebook.assign(codes_kd, codes_kd), torch.arange(codebook.size))
    assert len(codes_kd.unique(dim=0)) == codebook.size


def test_levels_pass_gradients_to_latents_only_through_the_squashing() -> None:
    quantizer = NearestQuantizer(NearestQuantizer.Config(commitment_weight=0), levels(8, 5))
    latents = torch.tensor([0.3, -0.7]).view(1, 2, 1, 1).requires_grad_()
    out = quantizer(latents)
    out.latents.sum().backward()
    want = latents.detach().clone().requires_grad_()
    quantizer.codebook.prepare(want).sum().backward()
    torch.testing.assert_close(latents.grad, want.grad)
    assert out.losses["commitment"] == 0


@pytest.mark.parametrize("codebook", [sign(6), levels(8, 5, 5), levels(4, 3, 7)], ids=str)
def test_residual_steps_refine(codebook: Codebook) -> None:
    """Codes of a later step are smaller, so that they still say something: the error shrinks as they do."""
    from vqcli.quantizers.residual import ResidualQuantizer

    torch.manual_seed(0)
    latents: Tensor = torch.randn(2, codebook.width, 4, 4).clamp(-1.9, 1.9)
    want = codebook.prepare(latents)
    errors = []
    for depth in (1, 2, 3):
        quantizer = ResidualQuantizer(ResidualQuantizer.Config(depth=depth), codebook)
        errors.append((quantizer(latents).latents - want).abs().mean().item())
        assert torch.equal(quantizer.lookup(quantizer.tokenize(latents)), quantizer(latents).latents)
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.6 * errors[1]


def test_nothing_is_stored() -> None:
    assert not sign().state_dict()
    assert not levels(4, 3).state_dict()


def test_options_that_decide_tokens_are_in_the_fingerprint() -> None:
    assert sign(first_bit="highest").deciding_fields() == {
        "name": "sign", "first_bit": "highest", "size": 16, "width": 4,
    }  # fmt: skip
    assert levels(4, 3).deciding_fields() == {"name": "levels", "levels": [4, 3], "size": 12, "width": 2}


def test_more_codes_than_can_be_listed_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 16,777,216"):
        levels(*[8] * 9)
