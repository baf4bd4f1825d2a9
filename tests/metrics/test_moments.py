import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vqcli import files
from vqcli.metrics.moments import BLOCK, Moments

N = 3 * BLOCK + 17


def drawn(n=N, width=12, seed=0):
    """Correlated vectors, far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator)
    return torch.randn(n, width, generator=generator) @ mixing + 100


def seen(*batches):
    moments = Moments()
    for batch in batches:
        moments.add(batch)
    return moments


def check(moments, rows, rel=1e-10):
    """Against numpy in two passes."""
    exact = rows.double().numpy()
    covariance = np.cov(exact, rowvar=False)
    assert moments.count == len(rows)
    assert moments.mean.numpy() == pytest.approx(exact.mean(0), rel=rel)
    assert np.abs(moments.covariance.numpy() - covariance).max() < rel * np.abs(covariance).max()


@pytest.mark.parametrize("size", [1, 7, 64, BLOCK, N])
def test_batch_size_does_not_matter(size):
    moments, whole = seen(*drawn().split(size)), seen(drawn())
    check(moments, drawn())
    # Blocks are cut at the same places: not a bit differs.
    assert torch.equal(moments.covariance, whole.covariance)
    assert torch.equal(moments.mean, whole.mean)


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_merged_processes_are_one(processes, tmp_path):
    merged = Moments()
    for rank in range(processes):
        part = seen(*drawn()[rank::processes].split(50))
        files.write_tensors(tmp_path / "part.safetensors", part.state())
        merged.merge(load_file(tmp_path / "part.safetensors"))
    merged.merge(Moments().state())
    check(merged, drawn())


def test_processes_that_saw_different_images():
    # Sets in the order of their classes: parts whose means are far apart.
    near, far = drawn(300), drawn(500, seed=1) * 3 + 1000
    merged = seen(near[:100])
    merged.merge(seen(far).state())
    merged.add(near[100:])
    check(merged, torch.cat([near, far]))


def test_a_large_mean_cancels_nothing():
    rows = (drawn() - 100).round() / 4 + 2.0**19  # exact in float32
    assert rows.std() < 3
    check(seen(*rows.split(33)), rows, rel=1e-9)


def test_reading_in_between_changes_nothing():
    moments = Moments()
    for batch in drawn().split(100):
        moments.add(batch)
        moments.state()
    check(moments, drawn())


def test_merging_shares_no_memory():
    part, merged = seen(drawn(5)), Moments()
    merged.merge(part.state())
    before = merged.covariance
    part.add(drawn(50, seed=1))
    part.state()
    assert torch.equal(merged.covariance, before)


def test_too_few_and_unfit_vectors():
    moments = Moments()
    assert moments.count == 0
    moments.add(drawn(0))
    for _ in range(2):
        with pytest.raises(ValueError, match="no covariance"):
            _ = moments.covariance
        moments.add(drawn(1))
    assert not moments.covariance.any()  # the same vector twice
    for unfit in (lambda: moments.add(drawn(2, 13)), lambda: moments.merge(seen(drawn(2, 13)).state())):
        with pytest.raises(ValueError, match="width 13"):
            unfit()


@pytest.mark.gpu
def test_vectors_on_a_gpu():
    check(seen(*drawn().cuda().split(100)), drawn())
