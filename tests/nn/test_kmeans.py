"""k-means: the start's distribution, Lloyd's iterations beside a slow formula, what decides the centres."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests import processes
from vqcli.nn import kmeans as module
from vqcli.nn.kmeans import Clusters, KMeans, KMeansOptions, Vectors, held, repeated, sampled, spread


def noise(n: int, width: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)).half()


def blobs(places: int = 6, each: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors in tight clouds, and the means of these."""
    middles = 10 * noise(places, seed=1)
    clouds = (middles[:, None] + 0.01 * noise(places * each, seed=2).view(places, each, 3)).half()
    return clouds.flatten(0, 1)[torch.from_numpy(np.random.default_rng(0).permutation(places * each))], clouds


def cut(vectors: torch.Tensor, *lengths: int) -> Vectors:
    blocks = vectors.split(list(lengths))
    return Vectors(list(lengths), blocks.__getitem__)


def run(kmeans: KMeans) -> Clusters:
    clusters = kmeans.start()
    while not kmeans.finished(clusters):
        clusters = kmeans.step(clusters)
    return clusters


def slow_step(vectors: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Lloyd's iteration in float64, one vector after the other; codes that are nearest to none stay NaN."""
    members: list[list[torch.Tensor]] = [[] for _ in codes]
    total = 0.0
    for vector in vectors.double():
        squares = (codes.double() - vector).square().sum(1)
        members[int(squares.argmin())].append(vector)
        total += squares.min().item()
    nothing = torch.full_like(codes[0], torch.nan).double()
    means = [torch.stack(found).mean(0) if found else nothing for found in members]
    return torch.stack(means).float(), total / len(vectors)


def test_iterations_are_lloyds() -> None:
    vectors = noise(300)
    kmeans = KMeans(cut(vectors, 100, 0, 150, 50), KMeansOptions(20, 6))
    clusters = kmeans.start()
    assert all((code == vectors.float()).all(1).any() for code in clusters.codes_kf)
    for done in range(6):
        before = clusters.codes_kf
        means, objective = slow_step(vectors, before)
        expected = means if done > 3 else before + 1.8 * (means - before)
        clusters = kmeans.step(clusters)
        assert len(clusters.objectives) == done + 1
        assert clusters.objectives[-1] == pytest.approx(objective, rel=1e-6)
        torch.testing.assert_close(clusters.codes_kf, expected)
    assert clusters.objectives == sorted(clusters.objectives, reverse=True)
    assert kmeans.measure(clusters) == pytest.approx(slow_step(vectors, clusters.codes_kf)[1], rel=1e-6)


def test_clouds_are_found() -> None:
    vectors, clouds = blobs()
    codes = run(KMeans(held(vectors), KMeansOptions(6))).codes_kf
    means = clouds.float().mean(1)
    order = torch.cdist(means, codes).argmin(1)
    assert sorted(order.tolist()) == list(range(6))
    torch.testing.assert_close(codes[order], means)


def test_the_start_has_the_distribution_of_kmeans_plus_plus() -> None:
    """Two centres of four points beside sixteen far ones, which make rounds propose two at once."""
    points = torch.tensor([0.0, 1.0, 3.0, 4.5])
    far = 100 + 10 * torch.arange(16.0)
    there = torch.cat([torch.tensor([-1.0]), far])[:, None]
    expected = {}
    for i, j in permutations(range(4), 2):
        first = (points + 1).square()
        second = torch.minimum(first, (points - points[i]).square())
        expected[i, j] = (first[i] / first.sum() * second[j] / second.sum()).item()
    trials, counts = 1000, dict.fromkeys(expected, 0)
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        found = spread(points[:, None].half(), there, 2, rng, torch.device("cpu"))
        counts[tuple((found == points).int().argmax(1).tolist())] += 1
    for pair, share in expected.items():
        assert abs(counts[pair] / trials - share) < 4 * (share * (1 - share) / trials) ** 0.5 + 1e-9, pair


@pytest.mark.parametrize("sample", [1 << 16, 4])
def test_exactly_as_many_different_centres(sample: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_SAMPLE", sample)
    monkeypatch.setattr(module, "SAMPLE", 1)
    different = torch.cartesian_prod(*[torch.arange(3.0)] * 3).half()
    vectors = torch.cat([different[:1].expand(500, 3), different.repeat(3, 1)])
    for size in (1, 5, 26, 27):
        kmeans = KMeans(held(vectors), KMeansOptions(size, 4))
        clusters = run(kmeans)
        assert len(clusters.codes_kf.unique(dim=0)) == size
        if size == 27:
            assert kmeans.measure(clusters) == 0
    with pytest.raises(ValueError, match=r"^27 different vectors do not make 28 centres$"):
        KMeans(held(vectors), KMeansOptions(28)).start()
    with pytest.raises(ValueError, match=r"^no vectors"):
        KMeans(held(vectors[:0]), KMeansOptions(28)).start()


def test_centres_nearest_to_nothing_move_to_vectors() -> None:
    vectors = noise(200)
    codes = torch.cat([vectors[:5].float(), 1000 + torch.arange(9.0).view(3, 3), vectors[:1].float()])
    moved = KMeans(held(vectors), KMeansOptions(9, 1)).step(Clusters(codes, [])).codes_kf
    torch.testing.assert_close(moved[:5], slow_step(vectors, codes)[0][:5])
    assert all((code == vectors.float()).all(1).any() for code in moved[5:])
    assert len(moved.unique(dim=0)) == 9


def test_repeated() -> None:
    codes = torch.tensor([[1, 2], [0, 0], [1, 2], [3, 0], [0, 0], [1, 2]]).float()
    assert repeated(codes).tolist() == [False, False, True, False, True, True]


def test_a_sample_takes_its_share_of_every_block() -> None:
    vectors = torch.arange(100.0)[:, None].half()
    found = sampled(cut(vectors, 10, 60, 0, 30), 20, seed=0).flatten().tolist()
    assert found == sorted(set(found))
    assert [sum(a <= x < b for x in found) for a, b in ((0, 10), (10, 70), (70, 100))] == [2, 12, 6]
    assert found != sampled(cut(vectors, 10, 60, 0, 30), 20, seed=1).flatten().tolist()
    assert torch.equal(sampled(cut(vectors, 10, 60, 0, 30), 1000, seed=0), vectors)


def test_the_first_half_sees_the_sample_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_SAMPLE", 50)
    monkeypatch.setattr(module, "SAMPLE", 1)
    vectors, seen = noise(1000), []
    kmeans = KMeans(cut(vectors, 600, 400), KMeansOptions(8, 5), advance=seen.append)
    assert kmeans.work(0) == 2 * 50 + 4 * 1000
    clusters = kmeans.start()
    for done in range(5):
        clusters = kmeans.step(clusters)
        assert sum(seen) == kmeans.work(0) - kmeans.work(done + 1)
    kmeans.measure(clusters)
    assert seen == [50, 50] + [600, 400] * 4
    assert kmeans.finished(clusters)


def test_a_sample_that_has_settled_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_SAMPLE", 30)
    kmeans = KMeans(held(noise(400)), KMeansOptions(2, 1000))
    clusters, passes = kmeans.start(), []
    while not kmeans.finished(clusters):
        passes.append(clusters.whole)
        clusters = kmeans.step(clusters)
    assert passes == sorted(passes)
    assert 1 < passes.index(True) < len(passes) < 400
    again = KMeans(held(noise(400)), KMeansOptions(2, 1)).step(clusters)
    assert torch.equal(again.codes_kf, clusters.codes_kf)


def test_seeds_blocks_and_continuing() -> None:
    vectors = noise(5000)

    def codes(*lengths: int, seed: int = 0) -> torch.Tensor:
        return run(KMeans(cut(vectors, *lengths), KMeansOptions(64, 6, seed))).codes_kf

    whole = codes(5000)
    assert torch.equal(whole, codes(5000))
    assert torch.equal(whole, codes(1, 1999, 3000))  # sums are exact, so blocks do not matter
    assert not torch.equal(whole, codes(5000, seed=1))
    clusters = KMeans(held(vectors), KMeansOptions(64, 6)).start()
    while len(clusters.objectives) < 6:  # a new object each time: nothing is kept beside the clusters
        clusters = KMeans(held(vectors), KMeansOptions(64, 6)).step(clusters)
    assert torch.equal(whole, clusters.codes_kf)


def test_it_ends_when_nothing_moves() -> None:
    kmeans = KMeans(held(noise(40)), KMeansOptions(4, 1000))
    clusters = run(kmeans)
    assert clusters.settled
    assert len(clusters.objectives) < 200
    assert torch.equal(
        KMeans(held(noise(40)), KMeansOptions(4, 1)).step(clusters).codes_kf, clusters.codes_kf
    )


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    clusters = run(KMeans(cut(noise(900), 300, 200, 400), KMeansOptions(32, 5), together=True))
    alone = run(KMeans(held(noise(90, seed=rank)), KMeansOptions(4, 5)))
    torch.save((clusters, alone), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_find_the_same_bits(tmp_path: Path) -> None:
    processes.spread(work, str(tmp_path))
    one = run(KMeans(cut(noise(900), 300, 200, 400), KMeansOptions(32, 5)))
    for rank in (0, 1):
        clusters, alone = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert torch.equal(clusters.codes_kf, one.codes_kf)
        assert clusters.objectives == one.objectives
        assert torch.equal(
            alone.codes_kf, run(KMeans(held(noise(90, seed=rank)), KMeansOptions(4, 5))).codes_kf
        )
