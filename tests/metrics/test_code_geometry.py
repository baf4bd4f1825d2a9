import numpy as np
import pytest

from vqcli.metrics.usage import geometry
from vqcli.metrics.usage.geometry import measure_geometry


def test_geometry_against_loops(monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK_ELEMENTS", 100)  # several blocks
    codes = (
        np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32) * (1, 2, 5) + 3000
    )  # far from the origin
    codes = codes.astype(np.float32)
    codes[7] = codes[3]
    codes[11], codes[12, 1] = np.nan, np.inf
    found = measure_geometry(codes)
    kept = np.delete(codes.astype(np.float64), [11, 12], axis=0)
    nearest = [min(np.linalg.norm(a - b) for j, b in enumerate(kept) if j != i) for i, a in enumerate(kept)]
    norms = [np.linalg.norm(a) for a in kept]
    eigenvalues = np.linalg.eigvalsh(np.cov(kept.T))
    assert (found.codes, found.width, found.not_finite, found.duplicates, found.sampled) == (40, 3, 2, 1, 38)
    assert (found.norm_min, found.norm_max) == pytest.approx((min(norms), max(norms)))
    assert found.norm_mean == pytest.approx(np.mean(norms))
    assert found.nearest_min == 0
    assert found.nearest_median == pytest.approx(np.median(nearest), rel=1e-12)
    assert found.effective_rank == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def test_geometry_closed_forms(monkeypatch):
    cube = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T.astype(np.float32)
    found = measure_geometry(cube)
    assert (found.norm_min, found.norm_max) == (2, 2)
    assert (found.nearest_min, found.nearest_median) == (2, 2)
    assert found.effective_rank == pytest.approx(4)
    monkeypatch.setattr(geometry, "SAMPLED_CODES", 5)
    assert measure_geometry(cube).sampled == 5
    collapsed = measure_geometry(np.zeros((6, 2), np.float32))
    assert (collapsed.duplicates, collapsed.effective_rank, collapsed.nearest_median) == (5, 0, 0)
    assert measure_geometry(np.full((3, 2), np.nan, np.float32)).not_finite == 3
    assert measure_geometry(np.ones((1, 2), np.float32)).sampled == 0
    with pytest.raises(ValueError, match="shape"):
        measure_geometry(np.zeros(3, np.float32))
