"""Index propagation and Gumbel against the published one-hot forms. Shape letters: N positions, K codes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqcli.codebooks.learned import LearnedCodebook
from vqcli.quantizers.base import flatten, unflatten
from vqcli.quantizers.gumbel import GumbelQuantizer
from vqcli.quantizers.index_propagation import IndexPropagationQuantizer


def book(size: int = 32, width: int = 6) -> LearnedCodebook:
    torch.manual_seed(0)
    return LearnedCodebook(LearnedCodebook.Config(size=size, width=width, init="normal"))


def gradients(z: Tensor, parameters: list[Tensor], loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [z, *parameters]))


def test_ibq_against_the_one_hot_form() -> None:
    q = IndexPropagationQuantizer(IndexPropagationQuantizer.Config(entropy_weight=0.7), book())
    z, w, table = torch.randn(2, 6, 4, 4, requires_grad=True), torch.randn(2, 6, 4, 4), q.codebook.weight
    out = q(z)
    ours = gradients(z, [table], (out.latents * w).sum() + sum(out.losses.values()))

    logits = flatten(z) @ table.T
    p = logits.softmax(1)
    hard = F.one_hot(logits.argmax(1), 32).float()
    soft = hard - p.detach() + p
    zq, zq_hard = (unflatten(x @ table, (4, 4)) for x in (soft, hard))
    loss = F.mse_loss(zq, z) + F.mse_loss(zq_hard, z.detach()) * 0.25 + F.mse_loss(zq_hard.detach(), z)
    sharp = (logits / 0.01).softmax(1)
    sample = -(sharp * (logits / 0.01 + 1e-5).log_softmax(1)).sum(1).mean()
    average = -(sharp.mean(0) * (sharp.mean(0) + 1e-5).log()).sum()
    loss = loss + 0.7 * (sample - average)
    torch.testing.assert_close(sum(out.losses.values()), loss, rtol=1e-4, atol=1e-5)
    for got, want in zip(ours, gradients(z, [table], (zq * w).sum() + loss)):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)


def test_ibq_reaches_every_code() -> None:
    q = IndexPropagationQuantizer(IndexPropagationQuantizer.Config(entropy_weight=0), book())
    q(torch.randn(1, 6, 2, 2)).latents.sum().backward()
    assert q.codebook.weight.grad.any(1).all()
    assert "entropy" not in q(torch.randn(1, 6, 2, 2)).losses


def test_ibq_compares_by_product_not_distance() -> None:
    q = IndexPropagationQuantizer(IndexPropagationQuantizer.Config(), book(2, 2))
    q.codebook.adopt(torch.tensor([[1.0, 0.0], [10.0, 0.0]]))
    assert q.tokenize(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)).ids.item() == 1


def gumbel(**options: float) -> GumbelQuantizer:
    return GumbelQuantizer(GumbelQuantizer.Config(**options), book())


def test_gumbel_against_torch() -> None:
    """The same noise, value and gradient as ``F.gumbel_softmax(hard=True)``, and the published divergence."""
    q = gumbel(temperature=0.7, kl_weight=0.3)
    z, w = torch.randn(2, 6, 4, 4, requires_grad=True), torch.randn(2, 6, 4, 4)
    parameters = [q.codebook.weight, q.proj.weight, q.proj.bias]
    torch.manual_seed(5)
    out = q.train()(z)
    ours = gradients(z, parameters, (out.latents * w).sum() + out.losses["kl"])

    logits = F.linear(flatten(z), q.proj.weight, q.proj.bias)
    torch.manual_seed(5)
    hard = F.gumbel_softmax(logits, tau=0.7, hard=True)
    p = logits.softmax(1)
    kl = 0.3 * (p * (p * 32 + 1e-10).log()).sum(1).mean()
    want = unflatten(hard @ q.codebook.weight, (4, 4))
    assert torch.equal(out.tokens.ids.flatten(), hard.argmax(1))
    torch.testing.assert_close(out.latents, want)
    torch.testing.assert_close(out.losses["kl"], kl)
    for got, expected in zip(ours, gradients(z, parameters, (want * w).sum() + kl)):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_gumbel_draws_as_often_as_the_scores_say() -> None:
    q = gumbel()
    with torch.no_grad():
        q.proj.weight.zero_()
        q.proj.bias.copy_(torch.linspace(-2, 2, 32))
    torch.manual_seed(0)
    drawn = q.train()(torch.zeros(40, 6, 32, 32)).tokens.ids.flatten()
    share = torch.bincount(drawn, minlength=32) / len(drawn)
    torch.testing.assert_close(share, q.proj.bias.detach().softmax(0), rtol=0.15, atol=1e-3)


def test_gumbel_encodes_without_chance() -> None:
    q, z = gumbel(), torch.randn(4, 6, 8, 8)
    want = F.linear(flatten(z), q.proj.weight, q.proj.bias).argmax(1)
    assert torch.equal(q.tokenize(z).ids.flatten(), want)
    assert torch.equal(q.eval()(z).tokens.ids.flatten(), want)
    drawn = [q.train()(z).tokens.ids for _ in range(2)]
    assert not torch.equal(*drawn)


def test_even_scores_cost_nothing() -> None:
    q = gumbel(kl_weight=1.0)
    torch.nn.init.zeros_(q.proj.weight)
    torch.nn.init.zeros_(q.proj.bias)
    assert q(torch.randn(1, 6, 2, 2)).losses["kl"].item() == pytest.approx(0, abs=1e-6)
    torch.nn.init.constant_(q.proj.bias[3:4], 1e3)
    assert q(torch.randn(1, 6, 2, 2)).losses["kl"].item() == pytest.approx(math.log(32), abs=1e-4)
