import numpy as np
import pytest
import torch

from vqcli.metrics import precision_recall
from vqcli.metrics.precision_recall import PrecisionRecall, precision_and_recall, radii, squared_distances
from vqcli.nn.inception import InceptionFeatures


def drawn(n, seed=0, width=6, shift=0):
    """Small whole numbers: all distances are exact in float32, and many are equal."""
    return torch.randint(-4, 5, (n, width), generator=torch.Generator().manual_seed(seed)).float() + shift


def show(metric, side, rows, size=10, start=0, step=1):
    for batch in torch.arange(start, len(rows), step).split(size):
        metric.observe(side, batch.numpy(), InceptionFeatures(rows[batch], torch.empty(0), torch.empty(0)))
    return metric


def both(reference, sample, size=10, **options):
    metric = PrecisionRecall(PrecisionRecall.Config(**options))
    return show(show(metric, "reference", reference, size), "sample", sample, size)


def slow(reference, sample, neighbours=3):
    """Image after image, in float64."""

    def apart(x, y):
        return ((x - y) ** 2).sum()

    def balls(rows):
        return [sorted(apart(x, y) for y in rows)[neighbours] for x in rows]

    def inside(rows, others):
        reach = balls(others)
        return np.mean([any(apart(x, y) <= r for y, r in zip(others, reach)) for x in rows])

    a, b = reference.double().numpy(), sample.double().numpy()
    return {"precision": inside(b, a), "recall": inside(a, b)}


@pytest.mark.parametrize("block", [7, 16, 2048])
@pytest.mark.parametrize("neighbours", [1, 3, 9])
def test_against_loops(monkeypatch, block, neighbours):
    monkeypatch.setattr(precision_recall, "BLOCK", block)  # narrower than a ball's neighbours too
    reference, sample = drawn(60), drawn(45, 1, shift=3)
    exact = slow(reference, sample, neighbours)
    assert 0.1 < exact["precision"] < exact["recall"] < 0.9
    assert both(reference, sample, neighbours=neighbours).result() == exact
    turned = both(sample, reference, neighbours=neighbours).result()
    assert turned == {"precision": exact["recall"], "recall": exact["precision"]}


def test_radii_against_a_sort():
    rows = drawn(50)
    exact = torch.cdist(rows.double(), rows.double()).square().sort(1).values[:, 3]
    assert torch.equal(radii(rows.half(), 3).double(), exact.round())


def test_distances_at_full_width():
    # Norms are as large as the distances: float32 leaves 1e-6 of them.
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 2048, generator=generator).relu() for n in (30, 40))
    exact = torch.cdist(a.double(), b.double()).square()
    assert squared_distances(a, b).double().numpy() == pytest.approx(exact.numpy(), rel=1e-5)
    own = squared_distances(a, a)
    assert own.min() >= 0
    assert own.diagonal().max() < 1e-5 * exact.min()


def test_a_set_and_itself():
    rows = torch.randn(80, 5, generator=torch.Generator().manual_seed(0))
    assert precision_and_recall(rows, rows, 3) == (1, 1)
    assert precision_and_recall(rows, rows + 1000, 3) == (0, 0)


def test_half_of_the_reference_is_covered():
    generator = torch.Generator().manual_seed(0)
    cluster, other = (torch.randn(200, 3, generator=generator) for _ in range(2))
    sample = torch.randn(150, 3, generator=generator)
    precision, recall = precision_and_recall(torch.cat([cluster, other + 100]), sample, 3)
    assert precision > 0.85
    assert 0.4 < recall <= 0.5


def test_batches_and_processes_do_not_matter():
    reference, sample = drawn(60), drawn(45, 1, shift=3)
    exact = slow(reference, sample)
    for size in (1, 60):
        assert both(reference, sample, size).result() == exact
    merged = PrecisionRecall(PrecisionRecall.Config())
    for rank in range(3):
        own = show(PrecisionRecall(PrecisionRecall.Config()), "sample", sample, start=rank, step=3)
        merged.merge(show(own, "reference", reference, start=rank, step=3).state())
    merged.merge(PrecisionRecall(PrecisionRecall.Config()).state())
    assert merged.result() == exact


def test_too_few_images():
    assert both(drawn(3), drawn(45)).result() == {}
    assert both(drawn(45), drawn(3)).result() == {}
    assert both(drawn(4), drawn(4)).result() == {"precision": 1, "recall": 1}
    assert PrecisionRecall(PrecisionRecall.Config()).result() == {}


def test_no_more_is_kept_than_it_should():
    metric = both(drawn(60), drawn(45, 1), keep=20)
    kept = metric.state()
    assert {len(x) for x in kept.values()} == {20}
    exact = slow(kept["reference_features"], kept["sample_features"])
    assert metric.result() == exact
