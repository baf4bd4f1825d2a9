"""The nearest-code quantizer against its formulas. Shape letters: N positions, K codes, D width."""

import pytest
import torch
import torch.nn.functional as F

from vqcli.codebooks.bridged import BridgedCodebook
from vqcli.codebooks.learned import LearnedCodebook
from vqcli.errors import VqcliError
from vqcli.quantizers.nearest import NearestQuantizer


def quantizer(metric: str = "l2", **weights: float) -> NearestQuantizer:
    torch.manual_seed(0)
    book = LearnedCodebook(LearnedCodebook.Config(size=32, width=6, init="normal"))
    return NearestQuantizer(NearestQuantizer.Config(metric=metric, **weights), book)


def test_losses_and_gradient_against_the_formula() -> None:
    q, z = quantizer(codebook_weight=0.5, commitment_weight=2.0), torch.randn(3, 6, 2, 5)
    z_ours, z_want = z.clone().requires_grad_(), z.clone().requires_grad_()
    out = q(z_ours)
    (out.latents.sin().sum() + sum(out.losses.values())).backward()
    ours, q.codebook.weight.grad = q.codebook.weight.grad, None

    flat_nd = z_want.permute(0, 2, 3, 1).reshape(-1, 6)
    ids = (flat_nd[:, None] - q.codebook.weight).square().sum(-1).argmin(1)
    chosen_nd = q.codebook.weight[ids]
    through_nd = flat_nd + (chosen_nd - flat_nd).detach()
    loss = 0.5 * F.mse_loss(chosen_nd, flat_nd.detach()) + 2.0 * F.mse_loss(flat_nd, chosen_nd.detach())
    (through_nd.sin().sum() + loss).backward()
    assert torch.equal(out.tokens.ids.flatten(), ids)
    torch.testing.assert_close(z_ours.grad, z_want.grad)
    torch.testing.assert_close(ours, q.codebook.weight.grad)


def test_latents_are_exactly_codes() -> None:
    q = quantizer()
    out = q(torch.randn(1, 6, 3, 3) * 1000)
    assert torch.equal(out.latents[0, :, 1, 2], q.codes()[out.tokens.ids[0, 5]])


def test_codebook_term_only_where_codes_learn() -> None:
    q, z = quantizer(), torch.randn(1, 6, 2, 2)
    assert set(q(z).losses) == {"codebook", "commitment"}
    q.codebook.requires_grad_(False)
    assert set(q(z).losses) == {"commitment"}


def test_cosine_ignores_length() -> None:
    q, z = quantizer("cosine"), torch.randn(2, 6, 3, 3)
    tokens = q.tokenize(z)
    assert torch.equal(q.tokenize(z * 100).ids, tokens.ids)
    want = F.cosine_similarity(z[0, :, 1, 1], q.codebook.weight, dim=1).argmax()
    assert tokens.ids[0, 4] == want
    torch.testing.assert_close(q(z).latents.norm(dim=1), torch.ones(2, 3, 3))


@pytest.mark.parametrize("length", [1.0, 3.0])
def test_gradient_flows_through_both_normalizations(length: float) -> None:
    """Also where codes have length 1 and stay as they are: a cosine does not see how long a code is."""
    q, z = quantizer("cosine"), torch.randn(2, 6, 3, 3)
    q.codebook.adopt(F.normalize(torch.randn(32, 6)) * length)
    ours, want = z.clone().requires_grad_(), z.clone().requires_grad_()
    out = q(ours)
    out.losses["codebook"].backward()
    gradient, q.codebook.weight.grad = q.codebook.weight.grad, None
    chosen_nd = F.normalize(q.codebook.weight)[out.tokens.ids.flatten()]
    flat_nd = F.normalize(want, dim=1).permute(0, 2, 3, 1).reshape(-1, 6)
    F.mse_loss(chosen_nd, flat_nd.detach()).backward()
    torch.testing.assert_close(gradient, q.codebook.weight.grad, rtol=1e-4, atol=1e-8)
    assert (gradient * q.codebook.weight).sum(1).abs().max() < 1e-6


def test_unit_codes_survive_another_normalization() -> None:
    """An exported cosine codebook is stored normalized and normalized again in use: no bit changes."""
    q, z = quantizer("cosine"), torch.randn(4, 6, 8, 8)
    stored = NearestQuantizer(q.config, LearnedCodebook.from_codes(q.codes()))
    assert torch.equal(stored.codes(), q.codes())
    assert torch.equal(stored.tokenize(z).ids, q.tokenize(z).ids)
    torch.testing.assert_close(q.codes(), F.normalize(q.codebook.weight), rtol=0, atol=1e-6)


def test_cosine_refuses_a_codebook_that_starts_at_zero() -> None:
    book = BridgedCodebook(BridgedCodebook.Config(**BridgedCodebook.TINY))
    with pytest.raises(VqcliError, match="cosine needs codes that are never zero"):
        NearestQuantizer(NearestQuantizer.Config(metric="cosine"), book)
    assert NearestQuantizer(NearestQuantizer.Config(metric="cosine"), book.bake())


def test_deciding_fields_leave_training_options_out() -> None:
    assert quantizer("cosine", codebook_weight=3.0).deciding_fields() == {
        "quantizer": {"name": "nearest", "metric": "cosine"},
        "codebook": {"name": "learned", "size": 32, "width": 6},
    }
