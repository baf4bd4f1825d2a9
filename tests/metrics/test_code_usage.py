import numpy as np
import pytest

from vqcli.metrics.code_usage import CodeUsage
from vqcli.metrics.usage.counts import UsageCounts
from vqcli.metrics.usage.record import COUNTED

FLAT, SCALES = ((2, 3),), ((1, 1), (2, 2))


def made(codes=16):
    return CodeUsage(CodeUsage.Config(), codes)


def drawn(images, grid, codes=16):
    return np.random.default_rng(images).integers(0, codes, (images, sum(h * w for h, w in grid)))


@pytest.mark.parametrize("grid", [FLAT, SCALES])
def test_it_counts_as_usage_reports_do(grid):
    metric, counts = made(), UsageCounts(16, len(grid))
    for images in (1, 4, 2):
        metric.observe(drawn(images, grid), grid)
        counts.add(drawn(images, grid), grid)
    assert metric.report() == counts.report()
    assert metric.result() == {name: getattr(counts.report(), name) for name in COUNTED}
    assert metric.result()["tokens"] == drawn(7, grid).size
    assert len(metric.report().entries) == (2 if grid == SCALES else 0)


def test_numbers_of_few_tokens():
    metric = made(4)
    metric.observe(np.array([[1, 1, 1, 3, 3, 3]]), FLAT)
    assert metric.result() == {
        "utilization": 0.5,
        "uniform_expectation": pytest.approx(1 - 0.75**6),
        "perplexity": pytest.approx(2),
        "used": 2,
        "tokens": 6,
        "codebook_size": 4,
    }


def test_who_has_seen_nothing_adds_nothing():
    idle, busy = made(), made()
    assert (idle.result(), idle.report().tokens) == ({}, 0)
    busy.observe(drawn(3, SCALES), SCALES)
    before = busy.report()
    busy.merge(idle.state())
    assert busy.report() == before
    state = busy.state()
    busy.observe(drawn(2, SCALES), SCALES)
    idle.merge(state)
    assert idle.report() == before  # a state stays what it was
    idle.observe(drawn(2, SCALES), SCALES)
    assert idle.report() == busy.report()


def test_what_does_not_fit_is_refused():
    metric, other = made(), made(17)
    metric.observe(drawn(3, FLAT), FLAT)
    other.observe(drawn(3, FLAT), FLAT)
    with pytest.raises(ValueError, match="do not fit"):
        metric.merge(other.state())
    with pytest.raises(ValueError, match="do not fit a grid"):
        metric.observe(drawn(1, SCALES), SCALES)
    with pytest.raises(ValueError, match="codebook of 16 codes"):
        metric.observe(np.array([[1, 1, 1, 3, 3, 16]]), FLAT)
