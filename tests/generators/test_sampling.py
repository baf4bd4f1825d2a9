"""How tokens are drawn, against slow and obvious formulas."""

import numpy as np
import pytest
import torch

from tests.generators.test_contract_generators import GRIDS, REGISTERED, make, streams
from vqcli.errors import VqcliError
from vqcli.generators.autoregressive import AutoregressiveGenerator
from vqcli.generators.base import image_stream
from vqcli.generators.sampling import SamplingConfig, draw, filtered, guide
from vqcli.registry import resolve

TOKEN_BY_TOKEN = [
    name for name in REGISTERED if issubclass(resolve("generators", name), AutoregressiveGenerator)
]
LOGITS = torch.randn(40, 23, generator=torch.Generator().manual_seed(3)) * 2


def kept(logits, top_k=0, top_p=1.0):
    return torch.isfinite(filtered(logits, SamplingConfig(top_k=top_k, top_p=top_p)))


def test_top_k_keeps_ties_with_the_last():
    assert kept(torch.tensor([[3.0, 1, 2, 1, 0]]), top_k=3).tolist() == [[True, True, True, True, False]]
    assert kept(LOGITS, top_k=99).all()
    assert kept(LOGITS, top_k=5).sum(1).tolist() == [5] * len(LOGITS)


@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.9, 0.999])
def test_top_p_keeps_the_likeliest_up_to_the_one_that_crosses(top_p):
    for logits, mask in zip(LOGITS, kept(LOGITS, top_p=top_p)):
        probabilities, reached = logits.softmax(0), 0.0
        for token in logits.argsort(descending=True):
            assert bool(mask[token]) == (reached <= top_p)
            reached += float(probabilities[token])
        assert mask[logits.argmax()]


@pytest.mark.parametrize("top_p", [0.2, 0.9, 0.999])
def test_few_likely_tokens_need_no_whole_order(top_p):
    torch.manual_seed(0)
    logits = torch.cat([torch.randn(4, 16384) * 5, torch.randn(4, 16384) / 9])
    ordered, order = logits.double().sort(descending=True)
    before = (ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)).gather(-1, order.argsort(-1))
    found = kept(logits, top_p=top_p)
    near = (before - top_p).abs() < 2e-6  # sums in float32 are no nearer
    assert torch.equal(found | near, (before <= top_p) | near)
    for row in range(len(logits)):  # whatever else is drawn
        assert torch.equal(kept(logits[row : row + 1], top_p=top_p), found[row : row + 1])


def test_top_p_comes_after_top_k():
    """Shares are those among the k that are left."""
    logits = torch.log(torch.tensor([[0.3, 0.3, 0.2, 0.2]]) + torch.tensor([[0.0, 1e-4, 0.0, 1e-4]]))
    assert kept(logits, top_k=2, top_p=0.4).sum() == 1
    assert kept(logits, top_p=0.4).sum() == 2


def test_a_uniform_number_picks_by_the_cumulative_distribution():
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3])
    numbers = torch.tensor([0.0, 0.05, 0.1001, 0.5, 0.6999, 0.7001, 0.99999994])
    logits = probabilities.log().expand(len(numbers), 4)
    assert draw(logits, numbers, SamplingConfig()).tolist() == [0, 0, 2, 2, 2, 3, 3]


def test_shares_of_draws_are_the_distribution():
    logits = LOGITS[:1].expand(20_000, -1)
    numbers = torch.from_numpy(np.random.default_rng(0).random(20_000, dtype=np.float32))
    config = SamplingConfig(temperature=1.5, top_k=10)
    wanted = filtered(logits[:1], SamplingConfig(temperature=1.5, top_k=10)).softmax(1)[0]
    counts = torch.bincount(draw(logits, numbers, config), minlength=23) / 20_000
    torch.testing.assert_close(counts, wanted, atol=0.012, rtol=0)
    assert not counts[wanted == 0].any()


@pytest.mark.parametrize("config", [{"top_k": 1}, {"temperature": 0.0}])
def test_the_best_token_whatever_the_number(config):
    for number in (0.0, 0.3, 0.99999994):
        numbers = torch.full((len(LOGITS),), number)
        assert torch.equal(draw(LOGITS, numbers, SamplingConfig(**config)), LOGITS.argmax(1))


def test_guidance():
    u, c = LOGITS[:2], LOGITS[2:4]
    torch.testing.assert_close(guide(c, u, 1.0), c)
    torch.testing.assert_close(guide(c, u, 3.0), 3 * c - 2 * u)


def slow_sample(generator, label, stream, sampling):
    """One image without a cache: the whole prefix again for every token."""
    labels = torch.tensor([label])
    numbers = stream.random(generator.length, dtype=np.float32)
    ids = torch.empty(1, 0, dtype=torch.int64)
    for position in range(generator.length):
        logits = generator.logits(labels, ids)[:, -1]
        on = sampling.cfg > 1 and (sampling.cfg_interval < 0 or position - 1 <= sampling.cfg_interval)
        if on:
            null = torch.tensor([generator.null_class])
            logits = guide(logits, generator.logits(null, ids)[:, -1], sampling.cfg)
        token = draw(logits, torch.tensor(numbers[position : position + 1]), sampling)
        ids = torch.cat([ids, token[:, None]], dim=1)
    return ids[0]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", TOKEN_BY_TOKEN)
@pytest.mark.parametrize("interval", [-1, 0, 3])
@torch.no_grad()
def test_the_cache_changes_nothing(name, grid, interval):
    generator = make(name, grid)
    cfg = 1.0 if generator.null_class is None else 2.5
    sampling = SamplingConfig(cfg=cfg, cfg_interval=interval, top_k=9, top_p=0.95, temperature=0.9)
    labels = torch.tensor([0, 3, 2])
    fast = generator.sample(labels, streams(labels), sampling)
    for i, label in enumerate(labels.tolist()):
        slow = slow_sample(generator, label, image_stream(0, label, i), sampling)
        assert torch.equal(fast.ids[i], slow)


def test_logits_that_are_not_finite_make_no_image():
    generator = make("gpt")
    generator.norm.weight.data[0] = torch.nan
    with pytest.raises(VqcliError, match="not finite") as raised:
        generator.sample(torch.tensor([0]), streams([0]), SamplingConfig())
    assert "--precision" in raised.value.hint


def test_an_image_of_a_network_without_a_null_class_is_not_guided():
    generator = make("gpt_lc")
    with pytest.raises(ValueError, match="takes no cfg above 1"):
        generator.sample(torch.tensor([0]), streams([0]), SamplingConfig(cfg=1.5))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_compiled_steps_draw_the_same():
    generator = make("gpt")
    labels = torch.tensor([0, 1, 2])
    plain = generator.sample(labels, streams(labels), SamplingConfig(cfg=2.0))
    generator.compile_step()
    assert torch.equal(generator.sample(labels, streams(labels), SamplingConfig(cfg=2.0)).ids, plain.ids)
