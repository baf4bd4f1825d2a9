import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vqcli.data.images.open import open_source
from vqcli.data.loader import eval_batches
from vqcli.errors import VqcliError
from vqcli.metrics.frechet import Fid, SpatialFid, frechet_distance
from vqcli.metrics.moments import Moments
from vqcli.nn.inception import InceptionFeatures
from vqcli.pixels import CenterCrop

POOL, SPATIAL = 12, 9
METRICS = pytest.mark.parametrize("kind", [Fid, SpatialFid])


def drawn(n, width, seed=0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator)
    return (torch.randn(n, width, generator=generator) @ mixing + shift).relu()


def features(n, seed):
    """Of n images, narrower than the network's."""
    return InceptionFeatures(drawn(n, POOL, seed), drawn(n, SPATIAL, seed + 50), torch.zeros(n, 3))


def part(whole, rows):
    return InceptionFeatures(whole.pool[rows], whole.spatial[rows], whole.logits[rows])


def show(metric, side, whole, size=20, start=0, step=1):
    """Every ``step``-th image, in batches."""
    for rows in torch.arange(start, len(whole.pool), step).split(size):
        metric.observe(side, rows.numpy(), part(whole, rows))
    return metric


def moments(rows):
    found = Moments()
    found.add(rows)
    return found.mean, found.covariance


def by_eigenvalues(mean_a, cov_a, mean_b, cov_b):
    """The formula as it is written, in numpy."""
    mean_a, cov_a, mean_b, cov_b = (x.double().numpy() for x in (mean_a, cov_a, mean_b, cov_b))
    shared = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).astype(complex)).real.sum()
    return ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * shared


def slow(kind, reference, sample):
    name = "pool" if kind is Fid else "spatial"
    sides = (getattr(side, name).double() for side in (reference, sample))
    return by_eigenvalues(*(x for rows in sides for x in (rows.mean(0), torch.cov(rows.T))))


@pytest.mark.parametrize("decades", [0, 3, 12])
def test_commuting_covariances(decades):
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(60, 60, generator=generator).double()).Q
    a, b = (10 ** (-decades * torch.rand(60, generator=generator).double()) for _ in range(2))
    a[:7], b[4:20] = 0, 0  # covariances without full rank, as of few images
    mean_a, mean_b = torch.rand(2, 60, generator=generator).double()
    exact = ((mean_a - mean_b) ** 2).sum() + ((a.sqrt() - b.sqrt()) ** 2).sum()
    found = frechet_distance(mean_a, (basis * a) @ basis.T, mean_b, (basis * b) @ basis.T)
    assert found == pytest.approx(exact.item(), rel=1e-9)


@pytest.mark.parametrize("n", [13, 60, 500])
def test_against_the_formula_as_written(n):
    a, b = moments(drawn(n, 40)), moments(drawn(n + 9, 40, seed=1, shift=1))
    found = frechet_distance(*a, *b)
    assert found == pytest.approx(by_eigenvalues(*a, *b), rel=1e-6)
    assert found == pytest.approx(frechet_distance(*b, *a), rel=1e-10)


@pytest.mark.parametrize("n", [2, 20, 40, 200])
def test_a_set_is_not_apart_from_itself(n):
    rows = drawn(n, 40)
    assert frechet_distance(*moments(rows), *moments(rows)) < 1e-9
    assert 0 <= frechet_distance(*moments(rows), *moments(rows.flip(0))) < 1e-9


def test_a_set_is_not_apart_from_itself_at_full_width():
    rows = drawn(300, 2048)
    assert frechet_distance(*moments(rows), *moments(rows.flip(0))) < 1e-6


def test_sets_of_equal_images():
    zero, one = (torch.zeros(5).double(), torch.zeros(5, 5).double()), torch.ones(5).double()
    assert frechet_distance(*zero, *zero) == 0
    assert frechet_distance(*zero, one, torch.eye(5).double()) == pytest.approx(10)


@METRICS
def test_value_in_batches(kind):
    reference, sample = features(150, 0), features(130, 7)
    exact = slow(kind, reference, sample)
    for size in (1, 20, 150):
        metric = kind(kind.Config())
        show(metric, "sample", sample, size)
        show(metric, "reference", reference, size)
        assert metric.result() == {next(iter(kind.TITLES)): pytest.approx(exact, rel=1e-8)}


@METRICS
@pytest.mark.parametrize("processes", [2, 5])
def test_value_of_several_processes(kind, processes):
    reference, sample = features(150, 0), features(130, 7)
    whole = kind(kind.Config())
    for rank in range(processes):
        own = kind(kind.Config())
        show(own, "sample", sample, start=rank, step=processes)
        if rank:  # one saw no reference
            show(own, "reference", reference, start=rank - 1, step=processes - 1)
        whole.merge(own.state())
    whole.merge(kind(kind.Config()).state())
    (value,) = whole.result().values()
    assert value == pytest.approx(slow(kind, reference, sample), rel=1e-8)


@METRICS
def test_too_few_images(kind):
    metric, two = kind(kind.Config()), features(2, 0)
    assert metric.result() == {}
    show(metric, "reference", two)
    metric.observe("sample", np.array([0]), part(two, slice(1)))
    assert metric.result() == {}
    with pytest.raises(ValueError, match="no covariance"):
        metric.statistics("sample")
    metric.observe("sample", np.array([1]), part(two, slice(1, 2)))
    (value,) = metric.result().values()
    assert value < 1e-9


@METRICS
def test_stored_statistics(kind, tmp_path):
    reference, sample = features(150, 0), features(130, 7)
    maker = show(kind(kind.Config()), "sample", reference)
    np.savez(tmp_path / "reference.npz", **dict(zip(kind.NAMES, maker.statistics("sample"))))

    metric = kind(kind.Config())
    assert metric.take_statistics(np.load(tmp_path / "reference.npz"))
    show(metric, "reference", features(30, 3))  # another metric needs them; for this one the file decides
    show(metric, "sample", sample)
    (value,) = metric.result().values()
    assert value == pytest.approx(slow(kind, reference, sample), rel=1e-8)
    assert metric.statistics("reference")[1] == pytest.approx(maker.statistics("sample")[1])

    other = kind(kind.Config())  # what another process saw is enough, beside the file
    other.take_statistics(np.load(tmp_path / "reference.npz"))
    other.merge(metric.state())
    assert other.result() == metric.result()


def test_files_without_statistics():
    fid = Fid(Fid.Config())
    assert not fid.take_statistics({"arr_0": np.zeros((4, 8, 8, 3), np.uint8), "mu": np.zeros(3)})
    assert not fid.take_statistics({"mu_s": np.zeros(3), "sigma_s": np.eye(3)})
    assert SpatialFid(SpatialFid.Config()).take_statistics({"mu_s": np.zeros(3), "sigma_s": np.eye(3)})


@pytest.mark.parametrize(
    ("mean", "covariance", "why"),
    [
        (np.zeros(3), np.eye(4), "shapes"),
        (np.zeros((1, 3)), np.eye(3), "shapes"),
        (np.zeros(0), np.zeros((0, 0)), "shapes"),
        (np.zeros(3), np.zeros(3), "shapes"),
        (np.zeros(3), np.eye(3) + [[0, 1, 0]] * 3, "symmetric"),
        (np.array([0, np.nan, 0]), np.eye(3), "finite"),
        (np.zeros(3), np.diag([1, np.inf, 1]), "finite"),
        (np.zeros(3, int), np.eye(3), "floats"),
        (np.zeros(3), np.eye(3).astype(str), "floats"),
    ],
)
def test_damaged_statistics(mean, covariance, why):
    with pytest.raises(VqcliError, match=f"mu and sigma.*{why}"):
        Fid(Fid.Config()).take_statistics({"mu": mean, "sigma": covariance})


def test_statistics_of_another_network():
    metric = Fid(Fid.Config())
    metric.take_statistics(
        {"mu": np.zeros(POOL + 1, np.float32), "sigma": np.eye(POOL + 1, dtype=np.float32)}
    )
    with pytest.raises(VqcliError, match="mu has 13 numbers, features have 12"):
        show(metric, "sample", features(5, 0))


@pytest.mark.skipif(not os.environ.get("VQCLI_TEST_ASSETS"), reason="VQCLI_TEST_ASSETS is not set")
def test_pixels_of_real_images():
    """Pixels of photographs are far from normal, and their covariance from full rank."""
    source = open_source(str(Path(os.environ["VQCLI_TEST_ASSETS"], "data", "cifar10", "*.tar")))
    batches = eval_batches(source, np.arange(600), CenterCrop((32, 32)), 100)
    pixels = torch.cat([batch.stacked() for batch in batches]).flatten(1).float()
    rows = pixels @ torch.randn(pixels.shape[1], 80, generator=torch.Generator().manual_seed(0)) / 50
    ours = frechet_distance(*moments(rows[:300]), *moments(rows[300:]))
    assert ours == pytest.approx(by_eigenvalues(*moments(rows[:300]), *moments(rows[300:])), rel=1e-6)
    few = moments(rows[:50])
    assert frechet_distance(*few, *few) < 1e-9


@METRICS
def test_fewer_images_than_features_are_told(kind):
    """The covariance of fewer images than features is singular, and the distance too large."""
    width = POOL if kind is Fid else SPATIAL
    enough, few = features(width, 1), features(width - 1, 2)
    metric = show(show(kind(kind.Config()), "reference", enough), "sample", enough)
    assert (metric.seen(), metric.caution()) == ({"reference": width, "sample": width}, "")
    metric = show(show(kind(kind.Config()), "reference", enough), "sample", few)
    assert metric.seen()["sample"] == width - 1
    assert metric.caution().startswith(f"fewer than {width} features: biased upwards")
