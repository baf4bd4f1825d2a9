"""How codes lie in their space: lengths, neighbours, duplicates, effective rank. numpy only.

Shape letters: K codes, D code width, S sampled codes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLED_CODES = 4096
"""Codes whose nearest neighbour is looked for."""
BLOCK_ELEMENTS = 1 << 22
"""Distances held at a time."""


@dataclass(frozen=True)
class CodeGeometry:
    """How the codes lie in their space. Rows that are not finite are counted and then left out."""

    codes: int
    """K."""
    width: int
    """D."""
    not_finite: int
    """Codes with a NaN or an infinity."""
    norm_min: float
    norm_mean: float
    norm_max: float
    nearest_min: float
    """Euclidean distance of a code to the closest other one: the smallest ..."""
    nearest_median: float
    """... and the median, over ``sampled`` codes."""
    sampled: int
    duplicates: int
    """Codes that are exactly equal to an earlier one."""
    effective_rank: float
    """Participation ratio of the covariance, (sum of eigenvalues)^2 / (sum of their squares), at most D."""


def measure_geometry(codes_kd: NDArray[np.float32], seed: int = 0) -> CodeGeometry:
    """Norms, neighbours, duplicates and effective rank of codes (K, D). Raises ValueError on other shapes."""
    if codes_kd.ndim != 2 or 0 in codes_kd.shape:
        raise ValueError(f"codes have shape (K, D), not {codes_kd.shape}")
    finite = np.isfinite(codes_kd).all(axis=1)
    kept_kd = np.asarray(codes_kd[finite], np.float32)
    norms_k = np.linalg.norm(kept_kd.astype(np.float64), axis=1) if len(kept_kd) else np.zeros(1)
    nearest_s = _nearest(kept_kd, seed)
    covariance_dd = (
        np.atleast_2d(np.cov(kept_kd, rowvar=False, dtype=np.float64))
        if len(kept_kd) > 1
        else np.zeros((1, 1))
    )
    spread = float((covariance_dd**2).sum())
    return CodeGeometry(
        codes=len(codes_kd),
        width=codes_kd.shape[1],
        not_finite=int((~finite).sum()),
        norm_min=float(norms_k.min()),
        norm_mean=float(norms_k.mean()),
        norm_max=float(norms_k.max()),
        nearest_min=float(nearest_s.min()) if len(nearest_s) else 0.0,
        nearest_median=float(np.median(nearest_s)) if len(nearest_s) else 0.0,
        sampled=len(nearest_s),
        duplicates=len(kept_kd) - len(np.unique(kept_kd, axis=0)),
        effective_rank=float(np.trace(covariance_dd)) ** 2 / spread if spread else 0.0,
    )


def _nearest(codes_kd: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Distance to the closest other code, for a sample of them, (S,); empty where there is no other."""
    size = len(codes_kd)
    if size < 2:
        return np.zeros(0)
    chosen_s = np.sort(np.random.default_rng(seed).permutation(size)[:SAMPLED_CODES])
    centred_kd = codes_kd - codes_kd.mean(axis=0)  # the expansion below loses digits far from the origin
    half_k = 0.5 * (centred_kd**2).sum(axis=1)
    found = []
    for block in np.array_split(chosen_s, math.ceil(len(chosen_s) * size / BLOCK_ELEMENTS)):
        scores = half_k - centred_kd[block] @ centred_kd.T
        scores[np.arange(len(block)), block] = np.inf
        difference = codes_kd[block].astype(np.float64) - codes_kd[scores.argmin(axis=1)]
        found.append(np.linalg.norm(difference, axis=1))
    return np.concatenate(found)
