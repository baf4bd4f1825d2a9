"""How latents lie against the codes they are compared with: what usage alone does not tell. numpy only.

Shape letters: N latents, K codes, D width, M and S rows of two sets of vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vqcli.metrics.usage.counts import Counts
from vqcli.metrics.usage.geometry import BLOCK_ELEMENTS, SAMPLED_CODES, CodeGeometry, measure_geometry

Vectors = NDArray[np.float32]
Metric = Literal["l2", "dot"]


@dataclass(frozen=True)
class CodeGroup:
    """Codes that are used, or that never are, and how they lie against the latents."""

    codes: int
    """How many there are; of more than 4,096, distances are those of a sample."""
    norm_median: float
    norm_max: float
    latent_distance: float
    """Median distance of a code to the nearest of the sampled latents."""


@dataclass(frozen=True)
class LatentGeometry:
    """A sample of latents, as the quantizer compares them, against the codes."""

    latents: CodeGeometry
    """Of the sampled latents themselves, as of codes."""
    code_distance: float
    """Median distance of a latent to its code."""
    used: CodeGroup | None
    """Codes the counted images use; None where there is none."""
    unused: CodeGroup | None
    """Codes they never use."""
    metric: Metric = "l2"
    """How a latent gets its code: the closest, or by ``dot`` that of the largest product. Then lengths count
    too, and distances do not tell why a code is never used."""


def measure_latents(
    z_nd: Vectors, codes_kd: Vectors, counts_k: Counts, metric: Metric = "l2", seed: int = 0
) -> LatentGeometry:
    """Latents (N, D) against codes (K, D), of which ``counts_k`` tells how often each was used.

    Codes that are not finite are left out. Raises ValueError on other shapes.
    """
    if z_nd.ndim != 2 or codes_kd.shape != (len(counts_k), z_nd.shape[1]):
        raise ValueError(
            f"latents {z_nd.shape} do not fit codes {codes_kd.shape} and counts {counts_k.shape}"
        )
    finite = np.isfinite(codes_kd).all(axis=1)
    used, unused = (_group(codes_kd[finite & some], z_nd, seed) for some in (counts_k > 0, counts_k == 0))
    kept_kd = codes_kd[finite]
    distance = float(np.median(distances_to_chosen(z_nd, kept_kd, metric))) if len(kept_kd) else math.inf
    return LatentGeometry(measure_geometry(z_nd, seed), distance, used, unused, metric)


def _group(codes_kd: Vectors, z_nd: Vectors, seed: int) -> CodeGroup | None:
    if not len(codes_kd):
        return None
    norms_k = np.linalg.norm(codes_kd.astype(np.float64), axis=1)
    sample = np.random.default_rng(seed).permutation(len(codes_kd))[:SAMPLED_CODES]
    distances_s = distances_to_chosen(codes_kd[sample], z_nd)
    return CodeGroup(
        len(codes_kd), float(np.median(norms_k)), float(norms_k.max()), float(np.median(distances_s))
    )


def distances_to_chosen(
    vectors_md: Vectors, others_sd: Vectors, metric: Metric = "l2"
) -> NDArray[np.float64]:
    """Euclidean distance of each vector (M, D) to that of ``others_sd`` (S, D) it would choose, (M,)."""
    if metric == "dot":
        centre_d, half_s = np.zeros_like(others_sd[0]), np.zeros_like(others_sd[:, 0])
    else:
        centre_d = others_sd.mean(axis=0)  # the expansion below loses digits far from the origin
        half_s = 0.5 * ((others_sd - centre_d) ** 2).sum(axis=1)
    near_sd = others_sd - centre_d
    found = []
    for block_md in np.array_split(vectors_md, math.ceil(len(vectors_md) * len(others_sd) / BLOCK_ELEMENTS)):
        chosen_m = (half_s - (block_md - centre_d) @ near_sd.T).argmin(axis=1)
        difference_md = block_md.astype(np.float64) - others_sd[chosen_m]
        found.append(np.linalg.norm(difference_md, axis=1))
    return np.concatenate(found)
