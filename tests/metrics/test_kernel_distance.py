import numpy as np
import pytest
import torch

from vqcli import files
from vqcli.metrics.kept_features import KeptFeatures
from vqcli.metrics.kernel_distance import KernelDistance, kernel_discrepancy
from vqcli.nn.inception import InceptionFeatures

WIDTH = 24


def drawn(n, seed=0, shift=0.0, width=WIDTH):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(n, width, generator=generator) + shift).relu()


def built(**options):
    return KernelDistance(KernelDistance.Config(**options))


def show(metric, side, rows, indices=None, size=30):
    order = torch.arange(len(rows)) if indices is None else indices
    for batch in order.split(size):
        metric.observe(side, batch.numpy(), InceptionFeatures(rows[batch], torch.empty(0), torch.empty(0)))
    return metric


def both(metric, reference, sample):
    show(metric, "reference", reference)
    return show(metric, "sample", sample)


def slow(a, b):
    """Sums over pairs, one after another, of the features as they are kept."""
    a, b = (rows.half().double().numpy() for rows in (a, b))
    m = len(a)

    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    within = sum(kernel(x[i], x[j]) for x in (a, b) for i in range(m) for j in range(m) if i != j)
    between = sum(kernel(x, y) for x in a for y in b)
    return within / (m * (m - 1)) - 2 * between / m**2


def test_against_sums_over_pairs():
    a, b = drawn(20), drawn(20, 1, 0.3)
    assert kernel_discrepancy(a.half().float(), b.half().float()) == pytest.approx(slow(a, b), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all")
def test_against_torchmetrics():
    from torchmetrics.image.kid import KernelInceptionDistance

    # All of both sides: then which images a subset has does not matter.
    reference, sample = drawn(300, width=64), drawn(300, 1, 0.2, width=64)
    oracle = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=1, subset_size=300)
    oracle.update(reference, real=True)
    oracle.update(sample, real=False)
    found = both(built(subsets=2, subset_size=300), reference, sample).result()
    assert found["kid"] == pytest.approx(oracle.compute()[0].item(), abs=1e-5)
    assert found["kid"] > 0.01
    assert found["kid_std"] == pytest.approx(0, abs=1e-7)


def test_subsets_are_those_of_torch_fidelity():
    from torchmetrics.image.kid import poly_mmd

    reference, sample, draws, exact = drawn(90), drawn(70, 1, 0.2), np.random.RandomState(5), []
    for _ in range(8):
        chosen_sample = draws.choice(70, 25, replace=False)
        chosen_reference = draws.choice(90, 25, replace=False)
        exact.append(poly_mmd(sample[chosen_sample].double(), reference[chosen_reference].double()).item())
    found = both(built(subsets=8, subset_size=25, seed=5), reference, sample).result()
    assert found["kid"] == pytest.approx(np.mean(exact), abs=1e-4)  # features are kept in float16
    assert found["kid_std"] == pytest.approx(np.std(exact), abs=1e-4)
    assert found["kid_std"] > 0.01
    assert found["kid_subset_size"] == 25


def test_full_width_in_float32():
    """Features like the network's: what float16 and float32 lose is far below what papers print (1e-5)."""
    reference, sample = drawn(400, width=2048), drawn(400, 1, 0.02, width=2048)
    a, b = sample.double(), reference.double()
    kernels = [((x @ y.T) / 2048 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b))]
    within = sum(k.sum() - k.trace() for k in kernels[:2]) / (400 * 399)
    exact = (within - 2 * kernels[2].mean()).item()
    found = both(built(subsets=1), reference, sample).result()
    assert found == {"kid": pytest.approx(exact, abs=1e-6), "kid_std": 0, "kid_subset_size": 400}


def test_order_batches_and_processes_do_not_matter():
    reference, sample = drawn(90), drawn(70, 1)
    exact = both(built(subset_size=25), reference, sample).result()
    order = torch.randperm(70, generator=torch.Generator().manual_seed(0))
    for size in (1, 70):
        metric = show(built(subset_size=25), "sample", sample, order, size)
        show(metric, "reference", reference, size=size)
        assert metric.result() == exact
    merged = built(subset_size=25)
    for rank in range(3):
        own = show(built(subset_size=25), "sample", sample, order[rank::3])
        merged.merge(show(own, "reference", reference, torch.arange(rank, 90, 3)).state())
    merged.merge(built(subset_size=25).state())
    assert merged.result() == exact
    assert both(built(subset_size=25, seed=1), reference, sample).result() != exact


def test_fewer_images_than_a_subset():
    metric = both(built(subsets=4), drawn(90), drawn(70, 1))
    assert metric.result()["kid_subset_size"] == 70
    assert both(built(), drawn(2), drawn(2)).result()["kid_subset_size"] == 2
    assert both(built(), drawn(1), drawn(70)).result() == {}
    assert built().result() == {}


def test_equal_distributions_come_to_nothing():
    found = both(built(subsets=50, subset_size=100), drawn(500), drawn(500, 1)).result()
    assert abs(found["kid"]) < 0.02 < both(built(), drawn(500), drawn(500, 1, 0.3)).result()["kid"]


MANY, MOST = 1000, 100


def kept(*batches, most=MOST, seed=0):
    """Rows that tell whose they are."""
    features = KeptFeatures(most, seed)
    for batch in batches:
        features.add(batch, batch[:, None] * torch.ones(3))
    return features


def chosen(features):
    """Numbers of the images that were kept; each must have its own row."""
    assert features.features.dtype == torch.float16
    assert torch.equal(features.features.long(), features.indices[:, None].repeat(1, 3))
    assert len(set(features.indices.tolist())) == features.count
    return set(features.indices.tolist())


def test_which_images_are_kept(tmp_path):
    exact = chosen(kept(torch.arange(MANY)))
    assert len(exact) == MOST
    order = torch.randperm(MANY, generator=torch.Generator().manual_seed(0))
    for size in (1, 37, 101, MANY):
        assert chosen(kept(*order.split(size))) == exact
    merged = kept()
    for rank in range(3):
        part = kept(*order[rank::3].split(50))
        state = {"indices": part.indices, "features": part.features}
        files.write_tensors(tmp_path / f"{rank}.safetensors", state)
        merged.add(part.indices, part.features)
    assert chosen(merged) == exact
    assert (tmp_path / "0.safetensors").stat().st_size < MOST * (3 * 2 + 8) + 200
    assert chosen(kept(torch.arange(MANY), seed=1)) != exact


def test_what_is_kept_is_a_fair_draw():
    # Sets lie in the order of their classes: the first ones alone would be of one.
    tenths = np.bincount([i * 10 // MANY for i in chosen(kept(torch.arange(MANY)))], minlength=10)
    assert tenths.min() >= 4
    assert tenths.max() <= 20
    first = np.mean([7 in chosen(kept(torch.arange(40), most=10, seed=seed)) for seed in range(400)])
    assert first == pytest.approx(0.25, abs=0.07)


def test_fewer_images_than_are_kept():
    assert chosen(kept(torch.arange(50), torch.arange(60, 75))) == {*range(50), *range(60, 75)}
    assert chosen(kept(torch.arange(MOST))) == set(range(MOST))
    assert kept(torch.arange(0)).features.shape == (0, 0)
    assert kept().count == 0


def test_a_metric_keeps_no_more_than_it_should():
    metric = both(built(keep=40, subset_size=1000), drawn(90), drawn(70, 1))
    assert {len(x) for x in metric.state().values()} == {40}
    assert metric.result()["kid_subset_size"] == 40
