"""Residual and multi-scale quantizers against slow formulas. Shape letters: B images, D width, h, w sides."""

import pytest
import torch
import torch.nn.functional as F

from vqcli.codebooks.ema import EmaCodebook
from vqcli.codebooks.learned import LearnedCodebook
from vqcli.codebooks.levels import LevelsCodebook
from vqcli.codebooks.sign import SignCodebook
from vqcli.quantizers.multiscale import MultiscaleQuantizer, nearest_tick
from vqcli.quantizers.nearest import NearestQuantizer
from vqcli.quantizers.residual import ResidualQuantizer
from vqcli.types import Tokens


def book(size: int = 32, width: int = 6) -> LearnedCodebook:
    torch.manual_seed(0)
    return LearnedCodebook(LearnedCodebook.Config(size=size, width=width, init="normal"))


def residual(depth: int = 3, **options: float) -> ResidualQuantizer:
    return ResidualQuantizer(ResidualQuantizer.Config(depth=depth, **options), book())


def multiscale(**options: object) -> MultiscaleQuantizer:
    return MultiscaleQuantizer(
        MultiscaleQuantizer.Config(**{"scales": [1, 2, 4], "phis": 2} | options), book()
    )


def test_residual_losses_and_gradient_against_the_formula() -> None:
    q, z = residual(codebook_weight=0.5, commitment_weight=2.0), torch.randn(2, 6, 3, 3)
    ours, want = z.clone().requires_grad_(), z.clone().requires_grad_()
    out = q(ours)
    (out.latents.sin().sum() + sum(out.losses.values())).backward()
    gradient, q.codebook.weight.grad = q.codebook.weight.grad, None

    flat_nd = want.permute(0, 2, 3, 1).reshape(-1, 6)
    rest, total, ids, codebook, commitment = flat_nd.detach(), 0, [], 0, 0
    for _ in range(3):
        picked = (rest[:, None] - q.codebook.weight).square().sum(-1).argmin(1)
        total = total + q.codebook.weight[picked]
        rest = rest - q.codebook.weight[picked].detach()
        ids.append(picked)
        codebook = codebook + F.mse_loss(total, flat_nd.detach()) / 3
        commitment = commitment + F.mse_loss(flat_nd, total.detach()) / 3
    through = flat_nd + (total - flat_nd).detach()
    (through.sin().sum() + 0.5 * codebook + 2.0 * commitment).backward()
    assert torch.equal(out.tokens.ids, torch.stack([x.view(2, 9) for x in ids], 1).flatten(1))
    assert out.tokens.grid == ((3, 3),) * 3
    torch.testing.assert_close(ours.grad, want.grad)
    torch.testing.assert_close(gradient, q.codebook.weight.grad)


def test_one_codebook_observes_all_depths_at_once() -> None:
    seen = []

    class Watching(EmaCodebook):
        def observe(self, vectors_md, tokens_m):
            seen.append((len(vectors_md), len(tokens_m)))

    q = ResidualQuantizer(ResidualQuantizer.Config(depth=3), Watching(EmaCodebook.Config(size=8, width=6)))
    q.train()(torch.randn(2, 6, 3, 3))
    assert seen == [(54, 54)]


def test_every_depth_comes_closer() -> None:
    z = torch.randn(4, 6, 4, 4)
    errors = [(residual(depth)(z).latents - z).square().mean() for depth in (1, 2, 4)]
    assert errors[0] > errors[1] > errors[2]


def test_running_sums_end_at_the_latents() -> None:
    for q in (residual(), multiscale()):
        tokens = q.tokenize(torch.randn(2, 6, 4, 4))
        sums = list(q.sums(tokens))
        assert len(sums) == len(tokens.grid)
        assert torch.equal(sums[-1], q.lookup(tokens))
        first = tokens.ids[:, : tokens.grid[0][0] * tokens.grid[0][1]]
        if tokens.grid[0] == (4, 4):
            want = q.codes()[first].view(2, 4, 4, 6).permute(0, 3, 1, 2)
            torch.testing.assert_close(sums[0], want)


def test_multiscale_against_the_published_algorithm() -> None:
    q, f = multiscale(phi_ratio=0.3), torch.randn(2, 6, 4, 4)
    rest, total, ids = f, torch.zeros_like(f), []
    for step, side in enumerate((1, 2, 4)):
        small = F.interpolate(rest, (side, side), mode="area")
        flat_nd = small.permute(0, 2, 3, 1).reshape(-1, 6)
        picked = (flat_nd[:, None] - q.codebook.weight).square().sum(-1).argmin(1)
        ids.append(picked.view(2, -1))
        chosen = q.codebook.weight[picked].view(2, side, side, 6).permute(0, 3, 1, 2)
        grown = F.interpolate(chosen, (4, 4), mode="bicubic")
        conv = q.phi[(0, 0, 1)[step]]  # ticks 1/6 and 5/6 for steps at 0, 1/2 and 1: the first of a tie
        grown = 0.7 * grown + 0.3 * F.conv2d(grown, conv.weight, conv.bias, padding=1)
        total, rest = total + grown, rest - grown
    tokens = q.tokenize(f)
    assert torch.equal(tokens.ids, torch.cat(ids, 1))
    torch.testing.assert_close(q.lookup(tokens), total)


def test_phis_of_the_published_scales() -> None:
    assert [nearest_tick(step, 10, 4) for step in range(10)] == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert [nearest_tick(step, 4, 4) for step in range(4)] == [0, 1, 2, 3]
    assert nearest_tick(0, 1, 1) == 0


def test_phi_learns_though_codes_have_no_gradient() -> None:
    codebook = EmaCodebook(EmaCodebook.Config(size=8, width=6))
    q = MultiscaleQuantizer(MultiscaleQuantizer.Config(scales=[1, 4], phis=2), codebook)
    out = q(torch.randn(2, 6, 4, 4, requires_grad=True))
    out.losses["codebook"].backward()
    assert all(p.grad.any() for p in q.phi.parameters())


def test_only_latents_of_the_last_scale() -> None:
    for height, width in ((8, 8), (4, 2)):
        with pytest.raises(
            ValueError, match=f"must be 4 x 4, the last of the scales, not {height} x {width}"
        ):
            multiscale().tokenize(torch.zeros(1, 6, height, width))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": [1, 2], "phis": 3}, "3 phis for 2 scales"),
        ({"scales": [2, 1], "phis": 1}, "scales must grow"),
        ({"scales": [0, 1], "phis": 1}, "greater than or equal to 1"),
    ],
)
def test_impossible_scales_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiscaleQuantizer.Config(**options)


@pytest.mark.parametrize("q", [residual(2), multiscale()], ids=["residual", "multiscale"])
def test_rotation_gives_the_same_values_with_another_gradient(q: ResidualQuantizer) -> None:
    z = torch.randn(1, 6, 4, 4)
    gradients = []
    for name in ("straight_through", "rotation"):
        q.config = q.config.model_copy(update={"gradient": name})
        x = z.clone().requires_grad_()
        out = q(x)
        assert torch.equal(out.latents, q.lookup(Tokens(out.tokens.ids, out.tokens.grid)))
        out.latents.square().sum().backward()
        gradients.append(x.grad)
    assert not torch.allclose(*gradients)


@pytest.mark.parametrize(
    "book",
    [SignCodebook.Config(bits=10), LevelsCodebook.Config(levels=(8, 8, 8, 5, 5, 5))],
    ids=["sign", "levels"],
)
def test_fine_scales_of_implicit_codes_still_say_something(book: SignCodebook.Config) -> None:
    """A coarse scale leaves nearly everything to the finer ones: their codes are as long as the first."""
    kind = SignCodebook if isinstance(book, SignCodebook.Config) else LevelsCodebook
    torch.manual_seed(0)
    codebook = kind(book)
    latents = torch.randn(2, codebook.width, 16, 16)
    want = codebook.prepare(latents)
    q = MultiscaleQuantizer(MultiscaleQuantizer.Config(phi_ratio=0), codebook)
    nearest = NearestQuantizer(NearestQuantizer.Config(), codebook)
    errors = [(each(latents).latents - want).square().mean() for each in (q, nearest)]
    assert errors[0] < 1.1 * errors[1]
