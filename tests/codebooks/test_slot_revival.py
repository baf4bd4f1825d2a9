"""Slots of a bridged codebook that starve come back to life."""

import copy

import numpy as np
import pytest
import torch

from vqcli.codebooks.bridged import BridgedCodebook, BridgedConfig
from vqcli.nn.code_grid import code_grid, slots_of
from vqcli.quantizers.nearest import NearestQuantizer
from vqcli.training.optim import forget

K, D, PATCH = 96, 8, 2
SLOTS = PATCH**2


def codebook(**options) -> BridgedCodebook:
    torch.manual_seed(0)
    base = {"size": K, "width": D, "hidden": 16, "patch": PATCH, "depth": 1, "last_layer": "small"}
    return BridgedCodebook(BridgedConfig(**(base | {"revive_below": 0.5, "revive_every": 3} | options)))


def tokens_of_slots(book: BridgedCodebook, *slots: int, each: int = 12) -> torch.Tensor:
    """Tokens that hit these slots alone, evenly."""
    every = torch.arange(K)
    return torch.cat([every[book.slots(every) == slot][:each] for slot in slots])


def learn(book: BridgedCodebook, tokens: torch.Tensor, steps: int = 3) -> list:
    """What ``update`` returns after so many steps of these tokens."""
    found = []
    for _ in range(steps):
        book.observe(torch.zeros(len(tokens), D), tokens)
        found.append(book.update())
    return found


def blocks(book: BridgedCodebook) -> torch.Tensor:
    return book.bridge.recover.weight.detach().view(SLOTS, -1)


def test_slots_share_rows_of_the_last_layer():
    """Changing a slot's rows moves its codes, and no others."""
    book = codebook()
    before = book.codes().detach()
    with torch.no_grad():
        book.bridge.recover.weight.view(SLOTS, -1)[2] += 1
    moved = (book.codes().detach() != before).any(1)
    assert torch.equal(moved, book.slots(torch.arange(K)) == 2)
    assert np.array_equal(book.slots(np.arange(K)), slots_of(np.arange(K), code_grid(K, PATCH)[1], PATCH))


def test_a_starved_slot_takes_rows_of_the_busiest_and_the_others_stay():
    book = codebook()
    before = blocks(book).clone()
    hits = torch.cat(
        [tokens_of_slots(book, 0, 1, 2), tokens_of_slots(book, 1)]
    )  # 1 is the busiest, 3 has none
    *early, ((weight, rows), (bias, _)) = learn(book, hits)
    assert early == [[], []]
    assert weight is book.bridge.recover.weight
    assert bias is book.bridge.recover.bias
    assert torch.equal(rows.view(SLOTS, D), torch.tensor([[False]] * 3 + [[True]]).expand(SLOTS, D))
    after = blocks(book)
    assert torch.equal(after[:3], before[:3])
    apart = (after[3] - before[1]).std() / before[1].std()
    assert 0.02 < apart < 0.1
    assert book.numbers(np.ones(K, np.int64)) == {"slots": SLOTS, "weakest_slot": 1.0, "revived_slots": 1.0}
    assert book.numbers(np.ones(K, np.int64))["revived_slots"] == 0
    assert not book.revival.hits.any()


def test_several_starved_slots_take_from_different_ones_and_a_share_decides():
    book = codebook(revive_below=0.4)
    before = blocks(book).clone()
    learn(
        book,
        torch.cat([tokens_of_slots(book, 0, 1), tokens_of_slots(book, 1), tokens_of_slots(book, 2, each=3)]),
    )
    after = blocks(book)
    for slot, donor in ((3, 1), (2, 0)):  # 2 has 3 of 39 hits: less than 0.4 of a quarter
        assert (after[slot] - before[donor]).std() < 0.1 * before[donor].std()
    even = codebook(revive_below=0.9)
    before = blocks(even).clone()
    learn(even, tokens_of_slots(even, 0, 1, 2, 3))
    assert torch.equal(blocks(even), before)


def test_an_interrupted_count_goes_on_bit_for_bit():
    hits = tokens_of_slots(codebook(), 0, 1)
    whole, first = codebook(), codebook()
    learn(whole, hits, 6)
    learn(first, hits, 2)
    second = codebook()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    learn(second, hits, 4)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), second.state_dict().values()))


def test_the_optimizer_forgets_revived_rows_alone():
    book = codebook()
    optimizer = torch.optim.Adam(book.parameters(), lr=1e-3)
    book.codes().square().sum().backward()
    optimizer.step()
    restarted = learn(book, tokens_of_slots(book, 0, 1, 2))[-1]
    forget(optimizer, restarted)
    for parameter, rows in restarted:
        for name in ("exp_avg", "exp_avg_sq"):
            moments = optimizer.state[parameter][name]
            assert not moments[rows].any()
            assert moments[~rows].any()
        assert optimizer.state[parameter]["step"] == 1
    assert optimizer.state[book.base]["exp_avg"].any()


def test_published_recipes_count_no_slots_and_counts_decide_no_tokens():
    plain = codebook(revive_below=0)
    assert plain.revival is None
    assert learn(plain, tokens_of_slots(plain, 0)) == [[]] * 3
    assert "revived_slots" not in plain.numbers(np.ones(K, np.int64))
    assert set(codebook().deciding_tensors()) == set(plain.deciding_tensors())


def test_where_most_slots_starve_the_busy_ones_give_to_several():
    book = codebook(size=256, patch=4, width=1)
    before = book.bridge.recover.weight.detach().view(16, -1).clone()
    every = torch.arange(256)
    rows = learn(book, every[book.slots(every) == 5])[-1][0][1]
    assert rows.sum() == 15
    after = book.bridge.recover.weight.detach().view(16, -1)
    assert book.bridge.recover.bias.isfinite().all()
    for slot in range(16):
        assert (after[slot] - before[5]).std() <= 0.1 * before[5].std()
        assert torch.equal(after[slot], before[slot]) == (slot == 5)


def test_a_last_layer_that_stands_still_is_left_alone():
    book = codebook()
    optimizer = torch.optim.Adam([p for p in book.parameters() if p.requires_grad])
    book.bridge.recover.requires_grad_(False)
    before = blocks(book).clone()
    assert learn(book, tokens_of_slots(book, 0)) == [[]] * 3
    assert torch.equal(blocks(book), before)
    forget(optimizer, [(torch.zeros(3), torch.ones(3, dtype=torch.bool))])
    assert not optimizer.state


def test_weights_fit_with_and_without_counters():
    plain, counting = codebook(revive_below=0), codebook()
    learn(counting, tokens_of_slots(counting, 0), 2)
    with torch.no_grad():
        plain.bridge.recover.weight += 1
    counting.load_state_dict(plain.state_dict())
    assert counting.revival.hits.any()
    assert torch.equal(counting.codes(), plain.codes())
    fresh = codebook(revive_below=0)
    fresh.load_state_dict(counting.state_dict())
    assert torch.equal(fresh.codes(), plain.codes())


def test_a_run_starts_from_a_model_that_counts_nothing():
    plain, counting = (
        NearestQuantizer(NearestQuantizer.Config(), codebook(**x)) for x in ({"revive_below": 0}, {})
    )
    with torch.no_grad():
        plain.codebook.base += 1
    assert "anew" not in counting.start_from(plain)
    assert torch.equal(counting.codes(), plain.codes())
    assert "anew" not in plain.start_from(counting)


@pytest.mark.parametrize("seed", range(3))
def test_latents_along_a_line_leave_no_slot_behind(seed):
    """Latents of small networks vary along little more than a line: slots starve, unless they are revived."""
    slots = 16

    def weakest(below: float) -> float:
        book = codebook(size=256, patch=4, last_layer="zero", revive_below=below, revive_every=10)
        optimizer = torch.optim.Adam(book.parameters(), lr=1e-3)
        torch.manual_seed(seed)
        hits = torch.zeros(slots)
        for step in range(200):
            latents = torch.randn(256, 1) * torch.ones(D) + 0.05 * torch.randn(256, D) + 2
            codes = book.codes()
            tokens = book.assign(latents, codes.detach())
            optimizer.zero_grad()
            (codes[tokens] - latents).square().mean().backward()
            optimizer.step()
            book.observe(latents, tokens)
            forget(optimizer, book.update())
            if step >= 150:
                hits += torch.bincount(book.slots(tokens), minlength=slots)
        return float(hits.min() / hits.mean())

    assert weakest(0.0) < 0.01
    assert weakest(0.25) > 0.15
