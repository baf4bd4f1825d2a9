"""What every codebook with every quantizer must do."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.options import unread, watched
from vqcli.errors import VqcliError
from vqcli.nn.nearest import nearest_codes
from vqcli.parts import PARTS
from vqcli.quantizers.base import Quantizer
from vqcli.quantizers.compared import Compared
from vqcli.registry import _parse, resolve
from vqcli.types import Tokens, grid_length

PAIRS = [(book, quantizer) for book in PARTS["codebooks"] for quantizer in PARTS["quantizers"]]


UNTRAINED = {
    (book, quantizer) for book in ("ema", "sign", "levels") for quantizer in ("index_propagation", "gumbel")
}
CODELESS = ("none", "none")
"""An autoencoder: the one pair that makes no tokens, which has tests of its own."""
UNPAIRED = {pair for pair in PAIRS if "none" in pair} - {CODELESS}
REFUSED = UNTRAINED | UNPAIRED  # whatever else stands in the tables is allowed


def fill_with_noise(module: nn.Module) -> None:
    """Zero-initialised parts would pass on nothing."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5


def make(book_name: str, name: str, **options: Any) -> Quantizer:
    """A quantizer with noise in it."""
    kinds = resolve("codebooks", book_name), resolve("quantizers", name)
    book = kinds[0](kinds[0].Config(**kinds[0].TINY))
    config = kinds[1].Config(**kinds[1].TINY | options)
    quantizer = kinds[1](config, book)
    fill_with_noise(quantizer)
    return quantizer


def latents_for(quantizer: Quantizer) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, quantizer.width, 4, 4, generator=generator)


@pytest.fixture(params=PAIRS, ids="-".join)
def quantizer(request: pytest.FixtureRequest) -> Quantizer:
    if request.param in REFUSED:
        pytest.skip("refused, as another test shows")
    if request.param == CODELESS:
        pytest.skip("makes no tokens, as other tests show")
    return make(*request.param)


@pytest.mark.parametrize("pair", sorted(UNTRAINED), ids="-".join)
def test_what_cannot_be_combined_is_refused_with_a_way_out(pair: tuple[str, str]) -> None:
    with pytest.raises(VqcliError, match="trains codes by gradient") as refusal:
        make(*pair)
    assert pair[1] in str(refusal.value)
    assert "learned" in refusal.value.hint


@pytest.mark.parametrize("pair", sorted(UNPAIRED), ids="-".join)
def test_no_codebook_goes_with_no_quantizer_alone(pair: tuple[str, str]) -> None:
    needs, leaves = "needs codes; a codebook 'none' has none", f"leaves .* a codebook '{pair[0]}' has codes"
    with pytest.raises(VqcliError, match=needs if pair[0] == "none" else leaves) as refusal:
        make(*pair)
    assert pair[1] in str(refusal.value)
    assert "none" in refusal.value.hint


def test_without_codes_latents_stay_and_there_are_no_tokens() -> None:
    quantizer = make(*CODELESS)
    latents = latents_for(quantizer).requires_grad_()
    for act in (quantizer.train(), quantizer.eval()):
        out = act(latents)
        assert torch.equal(out.latents, latents)
        assert (out.losses, out.tokens.ids.shape, out.tokens.grid) == ({}, (2, 0), ())
        assert out.tokens.ids.dtype == torch.int64
    assert torch.equal(quantizer.snap(latents), latents)
    assert (quantizer.size, quantizer.grid(4, 4)) == (0, ((4, 4),))
    assert quantizer.codes().shape == (0, quantizer.width)
    quantizer.bake()
    kept = torch.arange(0)
    for tokens in (
        lambda: quantizer.tokenize(latents),
        lambda: quantizer.lookup(out.tokens),
        lambda: quantizer.prune(kept),
        quantizer.require_codes,
        quantizer.require_table,
    ):
        with pytest.raises(VqcliError, match="has no codebook: it makes latents, not tokens") as refusal:
            tokens()
        assert refusal.value.hint


@pytest.mark.parametrize("book", PARTS["codebooks"])
def test_cosine_needs_codes_with_a_direction(book: str) -> None:
    kind = resolve("codebooks", book)
    if book == "none":
        with pytest.raises(VqcliError, match="needs codes"):
            make(book, "nearest", metric="cosine")
    elif kind.HAS_DIRECTION:
        quantizer = make(book, "nearest", metric="cosine")
        torch.testing.assert_close(quantizer.codes().norm(dim=1), torch.ones(quantizer.size))
    else:
        with pytest.raises(VqcliError, match=f"a codebook '{book}' has such codes"):
            make(book, "nearest", metric="cosine")
        fresh = kind(kind.Config(**kind.TINY))
        assert not fresh.codes().any(dim=1).all()


def test_gradient_reaches_latents_and_every_parameter(quantizer: Quantizer) -> None:
    latents = latents_for(quantizer).requires_grad_()
    out = quantizer.train()(latents)
    sum(out.losses.values(), out.latents.square().mean()).backward()
    assert latents.grad is not None
    assert latents.grad.any()
    idle = [
        name
        for name, p in quantizer.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert not idle


def test_forward_tokenize_and_lookup_agree(quantizer: Quantizer) -> None:
    latents = latents_for(quantizer)
    for training in (True, False):
        out, tokens = quantizer.train(training)(latents), quantizer.tokenize(latents)
        assert tokens.ids.dtype == torch.int64
        assert tokens.ids.shape == (2, grid_length(tokens.grid))
        assert tokens.grid == out.tokens.grid == quantizer.grid(4, 4)
        if training and quantizer.DRAWS:
            tokens = out.tokens
        assert torch.equal(tokens.ids, out.tokens.ids)
        assert torch.equal(quantizer.lookup(tokens), out.latents)
        assert tokens.ids.min() >= 0
        assert tokens.ids.max() < quantizer.size
    assert len(tokens.ids.unique()) > 1


def test_parts_of_all_steps_are_the_latents(quantizer: Quantizer) -> None:
    """What a generator sees that works step by step."""
    latents = latents_for(quantizer)
    quantizer.eval()
    tokens, steps = quantizer.tokenize(latents), quantizer.code_steps()
    assert torch.equal(steps.codes, quantizer.codes())
    total = torch.zeros_like(latents)
    for step, ids in enumerate(tokens.ids.split([h * w for h, w in tokens.grid], dim=1)):
        assert steps.seen(total, tokens.grid[step]).shape[2:] == tokens.grid[step]
        total = total + steps.part(ids, step, tokens.grid)
    torch.testing.assert_close(total, quantizer.lookup(tokens))


@torch.no_grad()
def check_compared(quantizer: Quantizer) -> None:
    """What is told to be compared decides the tokens; or a sentence says why nothing is."""
    latents = latents_for(quantizer)[1:]
    with torch.autocast("cpu", torch.bfloat16):  # in float32 all the same
        found = quantizer.compared(latents, quantizer.codes())
    if isinstance(found, str):
        assert " " in found
        assert found[-1] not in ".!\n"  # it ends other sentences
        return
    vectors_nd, codes_kd = found.vectors_nd, quantizer.codes()
    tokens = quantizer.tokenize(latents)
    assert vectors_nd.shape == (grid_length(tokens.grid), quantizer.width)
    assert not vectors_nd.requires_grad
    if found.metric == "l2":  # codes that follow from a rule may be chosen by one
        assert torch.equal(quantizer.codebook.assign(vectors_nd, codes_kd), tokens.ids[0])
    if found.metric == "dot" or not quantizer.codebook.IMPLICIT:
        assert torch.equal(nearest_codes(vectors_nd, codes_kd, found.metric), tokens.ids[0])


def test_what_is_compared_decides_tokens(quantizer: Quantizer) -> None:
    check_compared(quantizer)


@pytest.mark.parametrize("book", PARTS["codebooks"])
def test_what_is_compared_by_angle_decides_tokens(book: str) -> None:
    if not resolve("codebooks", book).HAS_DIRECTION or (book, "nearest") in REFUSED:
        pytest.skip("refused, as another test shows")
    check_compared(make(book, "nearest", metric="cosine"))


@pytest.mark.parametrize("name", ["nearest", "residual", "multiscale", "index_propagation"])
def test_who_searches_codes_tells_what_is_compared(name: str) -> None:
    quantizer = make("learned", name)
    found = quantizer.compared(latents_for(quantizer), quantizer.codes())
    assert isinstance(found, Compared)
    assert found.metric == ("dot" if name == "index_propagation" else "l2")


def test_who_does_not_says_why() -> None:
    quantizer = make("learned", "gumbel")
    latents, codes_kd = latents_for(quantizer), quantizer.codes()
    assert "a projection scores the codes" in str(quantizer.compared(latents, codes_kd))
    silent = Quantizer.vectors(quantizer, latents, codes_kd)  # of a quantizer that does not tell
    assert silent == "the gumbel quantizer does not tell what it compares with codes"


def test_losses_are_weighted_scalars(quantizer: Quantizer) -> None:
    latents = latents_for(quantizer)
    weights = {k: 3 * v for k, v in quantizer.config.model_dump().items() if k.endswith("_weight")}
    torch.manual_seed(1)  # some draw noise
    once = quantizer.train()(latents).losses
    quantizer.config = quantizer.config.model_copy(update=weights)
    torch.manual_seed(1)
    thrice = quantizer(latents.requires_grad_()).losses
    assert all(loss.requires_grad for loss in thrice.values())
    assert once.keys() == thrice.keys()
    for name, loss in once.items():
        assert loss.shape == ()
        torch.testing.assert_close(thrice[name], 3 * loss)


def test_autocast_changes_nothing(quantizer: Quantizer) -> None:
    latents = latents_for(quantizer).bfloat16()
    plain = quantizer.eval()(latents.float())
    with torch.autocast("cpu", torch.bfloat16):
        inside, tokens = quantizer(latents), quantizer.tokenize(latents)
        found = quantizer.lookup(tokens)
    assert inside.latents.dtype == found.dtype == torch.float32
    assert torch.equal(inside.latents, plain.latents)
    assert torch.equal(found, plain.latents)
    assert torch.equal(inside.tokens.ids, plain.tokens.ids)
    assert torch.equal(tokens.ids, plain.tokens.ids)


def test_baking_keeps_tokens_and_latents(quantizer: Quantizer) -> None:
    tokens = quantizer.tokenize(latents_for(quantizer))
    baked = copy.deepcopy(quantizer)
    baked.bake()
    assert torch.equal(baked.tokenize(latents_for(quantizer)).ids, tokens.ids)
    assert torch.equal(baked.lookup(tokens), quantizer.lookup(tokens))
    assert all(p.requires_grad for p in baked.parameters())
    assert torch.equal(baked.codes(), quantizer.codes())


def test_pruning_keeps_what_is_kept(quantizer: Quantizer) -> None:
    """Codes that won, win among fewer; only their numbers change."""
    tokens = quantizer.tokenize(latents_for(quantizer))
    before, kept_k = quantizer.lookup(tokens), tokens.ids.unique()
    if quantizer.codebook.IMPLICIT:
        with pytest.raises(VqcliError, match="follow from a rule"):
            quantizer.prune(kept_k)
        return
    quantizer.prune(kept_k)
    after = quantizer.tokenize(latents_for(quantizer))
    assert quantizer.size == len(kept_k)
    assert torch.equal(kept_k[after.ids], tokens.ids)
    assert torch.equal(quantizer.lookup(after), before)


def test_configuration_rebuilds_the_quantizer(quantizer: Quantizer) -> None:
    for state in ("trained", "baked"):
        if state == "baked":
            quantizer.bake()
        book = _parse("codebooks", quantizer.codebook_config.model_dump(mode="json"))
        config = _parse("quantizers", quantizer.config.model_dump(mode="json"))
        again = resolve("quantizers", config.name)(config, resolve("codebooks", book.name)(book))
        again.load_state_dict(quantizer.state_dict())
        tokens = quantizer.tokenize(latents_for(quantizer))
        assert torch.equal(again.tokenize(latents_for(quantizer)).ids, tokens.ids)
        assert torch.equal(again.lookup(tokens), quantizer.lookup(tokens))
        assert again.deciding_fields() == quantizer.deciding_fields()


def test_codes_are_asked_for_once(quantizer: Quantizer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, codes = [], quantizer.codebook.codes
    monkeypatch.setattr(quantizer.codebook, "codes", lambda: calls.append(1) or codes())
    latents = latents_for(quantizer)
    tokens = quantizer(latents).tokens
    assert len(calls) == 1
    quantizer.tokenize(latents)
    assert len(calls) <= 2  # a projection picks without them
    calls.clear()
    quantizer.lookup(tokens)
    assert len(calls) == 1


def test_foreign_tokens_are_refused(quantizer: Quantizer) -> None:
    tokens = quantizer.tokenize(latents_for(quantizer))
    for bad in (-1, quantizer.size):
        ids = tokens.ids.clone()
        ids[1, 0] = bad
        with pytest.raises(VqcliError, match=f"^{bad} is no token of a codebook of {quantizer.size}$"):
            quantizer.lookup(Tokens(ids, tokens.grid))
    with pytest.raises(ValueError, match="do not fit the grid"):
        quantizer.lookup(Tokens(tokens.ids[:, 1:], tokens.grid))


def test_no_images(quantizer: Quantizer) -> None:
    tokens = quantizer.tokenize(latents_for(quantizer)[:0])
    assert quantizer.lookup(tokens).shape == (0, quantizer.width, 4, 4)


@pytest.mark.parametrize(
    "pair",
    [
        pair
        for pair in PAIRS
        if pair == CODELESS or (pair not in REFUSED and {"nearest", "learned"} & {*pair})
    ],
    ids="-".join,
)
def test_every_option_is_read(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = resolve("codebooks", pair[0]), resolve("quantizers", pair[1])
    (of_codebook, seen), (of_quantizer, seen_too) = map(watched, kinds)
    quantizer = kinds[1](of_quantizer, kinds[0](of_codebook))
    fill_with_noise(quantizer)
    for _ in range(2):
        features = latents_for(quantizer).repeat(1, quantizer.moments, 1, 1)
        quantizer.train()(quantizer.release(quantizer.receive(features)))
        quantizer.update()
    assert not unread(kinds[0], seen)
    assert pair[0] not in ("learned", "none") or not unread(kinds[1], seen_too)
