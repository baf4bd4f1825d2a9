import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from vqcli.metrics.usage import counts as usage
from vqcli.metrics.usage.counts import Bucket, UsageCounts, uniform_expectation

GRID = ((1, 1), (2, 2), (3, 1))


def counted(ids, size):
    counts = UsageCounts(size)
    counts.add(np.asarray(ids).reshape(1, -1))
    return counts


def test_report_against_an_obvious_count():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 30, (7, 8)) ** 2 % 37
    counts = UsageCounts(37, entries=3)
    counts.add(ids[:4].astype(np.uint8), GRID)
    counts.add(ids[4:], GRID)
    report = counts.report(top=3)

    slow = Counter(ids.ravel().tolist())
    shares = [n / 56 for n in slow.values()]
    entropy = -sum(p * math.log2(p) for p in shares)
    assert (report.images, report.tokens, report.used, report.dead) == (7, 56, len(slow), 37 - len(slow))
    assert report.utilization == len(slow) / 37
    assert report.entropy_bits == pytest.approx(entropy)
    assert report.perplexity == pytest.approx(2**entropy)
    assert report.most_used == tuple(sorted(slow.items(), key=lambda item: (-item[1], item[0]))[:3])
    assert report.least_used == tuple(sorted(slow.items(), key=lambda item: (item[1], -item[0]))[:3])
    assert report.curve == tuple(enumerate(sorted(slow.values(), reverse=True), 1))
    for bucket in report.histogram:
        assert bucket.codes == sum(bucket.low <= slow[code] <= bucket.high for code in range(37))
    assert sum(bucket.codes for bucket in report.histogram) == 37
    for entry, part in zip(report.entries, (ids[:, :1], ids[:, 1:5], ids[:, 5:])):
        assert (entry.tokens, entry.used) == (part.size, len(set(part.ravel().tolist())))


def test_uniform_counts_have_perplexity_k():
    report = counted(np.tile(np.arange(48), 5), 48).report()
    assert report.utilization == 1
    assert report.perplexity == pytest.approx(48, rel=1e-12)
    assert report.entropy_bits == pytest.approx(report.max_entropy_bits)
    assert report.histogram == (Bucket(0, 0, 0), Bucket(4, 7, 48))
    assert report.entries == ()


def test_one_code_and_no_tokens():
    report = counted([5] * 9, 16).report()
    assert (report.perplexity, report.used, report.most_used) == (1, 1, ((5, 9),))
    empty = UsageCounts(16).report()
    assert (empty.used, empty.uniform_expectation, empty.curve, empty.most_used) == (0, 0, (), ())
    assert empty.histogram == (Bucket(0, 0, 16),)


@pytest.mark.parametrize(("size", "tokens"), [(1, 0), (1, 3), (2, 5), (1024, 65536), (16384, 100)])
def test_uniform_expectation_is_exact(size, tokens):
    exact = 1 - Fraction(size - 1, size) ** tokens
    assert uniform_expectation(size, tokens) == pytest.approx(float(exact), rel=1e-12)


def test_uniform_expectation_of_large_numbers():
    # One token of a huge codebook shows just its share, which 1 - (1 - 1/K)^N in floats would round away.
    assert uniform_expectation(2**60, 1) == pytest.approx(2.0**-60, rel=1e-12, abs=0)
    assert uniform_expectation(65536, 65536) == pytest.approx(1 - math.exp(-1), abs=1e-5)


def test_uniform_expectation_matches_draws():
    rng = np.random.default_rng(0)
    drawn = np.mean([len(np.unique(rng.integers(0, 500, 700))) / 500 for _ in range(200)])
    assert uniform_expectation(500, 700) == pytest.approx(drawn, abs=0.005)


def test_merging_is_counting_together():
    ids = np.random.default_rng(0).integers(0, 9, (6, 8))
    one, other, both = (UsageCounts(9, 3) for _ in range(3))
    one.add(ids[:2], GRID)
    other.add(ids[2:], GRID)
    both.add(ids, GRID)
    one.merge(other)
    assert one.report() == both.report()
    with pytest.raises(ValueError, match="do not fit"):
        one.merge(UsageCounts(9))


def test_long_curves_are_thinned_and_keep_both_ends():
    ids = np.repeat(np.arange(3000), np.arange(3000) % 50 + 1)
    report = counted(ids, 4000).report()
    ranks = [rank for rank, _ in report.curve]
    assert (ranks[0], ranks[-1]) == (1, 3000)
    assert len(ranks) <= usage.CURVE_POINTS
    assert report.curve[0][1] == 50
    assert report.curve[-1][1] == 1


@pytest.mark.parametrize("ids", [[[0, 9]], [[-1, 0]], [0, 1], [[0, 1, 2]]])
def test_tokens_that_do_not_fit(ids):
    with pytest.raises(ValueError, match="do not fit"):
        UsageCounts(9).add(np.array(ids), ((1, 2),))
