"""The EMA codebook against its formulas. Shape letters: M vectors, K codes, D width."""

import pytest
import torch

from vqcli.codebooks.ema import EmaCodebook
from vqcli.nn.nearest import nearest_codes
from vqcli.quantizers.nearest import NearestQuantizer


def book(size: int = 6, width: int = 3, **options: object) -> EmaCodebook:
    torch.manual_seed(0)
    return EmaCodebook(EmaCodebook.Config(size=size, width=width, **options))


def step(codebook: EmaCodebook, vectors_md: torch.Tensor) -> torch.Tensor:
    tokens_m = nearest_codes(vectors_md, codebook.codes())
    codebook.observe(vectors_md, tokens_m)
    codebook.update()
    return tokens_m


def test_averages_are_the_published_ones() -> None:
    """Against the formulas, code by code; the smoothing never changes a sum of cluster sizes."""
    codebook, decay, eps = book(decay=0.9, eps=1e-3), 0.9, 1e-3
    sizes, sums, codes = [1.0] * 6, codebook.codes().clone(), codebook.codes().clone()
    for _ in range(4):
        vectors_md = torch.randn(40, 3)
        for k in range(6):
            mine = vectors_md[(vectors_md[:, None] - codes).square().sum(-1).argmin(1) == k]
            sizes[k] = decay * sizes[k] + (1 - decay) * len(mine)
            sums[k] = decay * sums[k] + (1 - decay) * mine.sum(0)
        step(codebook, vectors_md)
        total = sum(sizes)
        codes = torch.stack([sums[k] / ((sizes[k] + eps) / (total + 6 * eps) * total) for k in range(6)])
        torch.testing.assert_close(codebook.codes(), codes)
        torch.testing.assert_close(codebook.counts, torch.tensor(sizes))


def test_passes_of_one_step_add_up() -> None:
    one, two, vectors_md = book(), book(), torch.randn(40, 3)
    tokens_m = step(one, vectors_md)
    for half in (slice(0, 20), slice(20, 40)):
        two.observe(vectors_md[half], tokens_m[half])
    two.update()
    torch.testing.assert_close(one.codes(), two.codes())


def test_update_replaces_and_needs_something_observed() -> None:
    codebook = book()
    before, copy = codebook.weight, codebook.weight.clone()
    codebook.update()
    assert codebook.weight is before
    step(codebook, torch.randn(40, 3))
    assert torch.equal(before, copy)  # a graph of this step may still hold it
    assert not torch.equal(codebook.weight, copy)


def test_a_start_at_zero_counts_throws_unused_codes_away() -> None:
    """Why cluster sizes start at 1: the published start, as a counter-example."""
    ours, published = book(64, 8), book(64, 8)
    published.counts = torch.zeros(64)
    vectors_md = torch.randn(8, 8) * 0.3
    for codebook in (ours, published):
        step(codebook, vectors_md)
    assert ours.codes().norm(dim=1).max() < 3
    assert (published.codes().norm(dim=1) > 1e3).sum() >= 50


def test_dead_codes_move_to_vectors_of_the_batch() -> None:
    codebook = book(16, 2, revive_below=0.5)
    codebook.adopt(torch.cat([torch.zeros(1, 2), torch.full((15, 2), 100.0)]))
    vectors_md = torch.randn(64, 2)
    for _ in range(200):
        step(codebook, vectors_md)
    assert len(nearest_codes(vectors_md, codebook.codes()).unique()) == 16
    torch.manual_seed(1)
    few = book(16, 2, revive_below=0.5)
    few.counts = torch.full((16,), 0.1)
    step(few, torch.randn(3, 2))  # at most three codes revive: no two of them at one place
    assert (few.counts == 0.5).sum() == 3


def test_without_revival_they_stay() -> None:
    codebook = book(16, 2)
    codebook.adopt(torch.cat([torch.zeros(1, 2), torch.full((15, 2), 100.0)]))
    for _ in range(50):
        step(codebook, torch.randn(64, 2))
    assert len(nearest_codes(torch.randn(64, 2), codebook.codes()).unique()) == 1


def test_kmeans_start_finds_clusters() -> None:
    centers_kd = torch.tensor([[5.0, 0.0], [0.0, 5.0], [-5.0, 0.0], [0.0, -5.0]])
    torch.manual_seed(3)
    vectors_md = (centers_kd.repeat(50, 1) + 0.1 * torch.randn(200, 2))[torch.randperm(200)]
    codebook = book(8, 2, kmeans=10)
    step(codebook, vectors_md)
    found_kd = codebook.codes()
    near = torch.cdist(vectors_md, found_kd).min(1).values
    assert near.max() < 1
    means = torch.stack([vectors_md[nearest_codes(vectors_md, found_kd) == k].mean(0) for k in range(8)])
    torch.testing.assert_close(
        found_kd[~means.isnan().any(1)], means[~means.isnan().any(1)], rtol=0.1, atol=0.1
    )
    counts = codebook.counts.clone()
    tokens_m = step(codebook, vectors_md)  # from here on it averages
    torch.testing.assert_close(codebook.counts, 0.99 * counts + 0.01 * torch.bincount(tokens_m, minlength=8))
    assert codebook.started


def test_kmeans_with_fewer_vectors_than_codes_keeps_the_rest() -> None:
    codebook = book(16, 2, kmeans=3)
    before = codebook.codes().clone()
    step(codebook, torch.randn(5, 2) + 50)
    torch.testing.assert_close((codebook.codes() - before).abs().amax(1).gt(1).sum(), torch.tensor(5))


def test_only_codes_decide_tokens() -> None:
    assert set(book().deciding_tensors()) == {"weight"}


def test_frozen_and_evaluating_codebooks_stand_still() -> None:
    quantizer = NearestQuantizer(NearestQuantizer.Config(), book())
    before, latents = quantizer.codes().clone(), torch.randn(2, 3, 4, 4)
    quantizer.eval()(latents)
    quantizer.update()
    quantizer.codebook.frozen = True
    quantizer.train()(latents)
    quantizer.update()
    assert torch.equal(quantizer.codes(), before)
    quantizer.codebook.frozen = False
    quantizer(latents)
    quantizer.update()
    assert not torch.equal(quantizer.codes(), before)


def test_adopted_codes_are_the_codes() -> None:
    codebook, codes_kd = book(kmeans=2), torch.randn(6, 3)
    assert codebook.adopt(codes_kd)
    assert torch.equal(codebook.codes(), codes_kd)
    step(codebook, torch.randn(40, 3))  # averages, and does not start with k-means
    assert codebook.codes().sub(codes_kd).abs().max() < 0.5


@pytest.mark.parametrize("option", ["decay", "eps", "revive_below"])
def test_impossible_options_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=option):
        book(**{option: -1})
