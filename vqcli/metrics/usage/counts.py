"""Codebook usage, counted exactly over a stated set of images. numpy only.

Utilization is the number of distinct tokens used over K. Beside it stands what uniform use would give for the
same number of tokens N, 1 - (1 - 1/K)^N: with few tokens even a perfect codebook cannot show every code.
Shape letters: B images, L tokens an image, K codes, E entries of the grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vqcli.types import Grid, grid_length

Counts = NDArray[np.int64]

CURVE_POINTS = 64
"""Points of the rank-frequency curve a report keeps."""


@dataclass(frozen=True)
class Bucket:
    """``codes`` codes were used between ``low`` and ``high`` times, both included."""

    low: int
    high: int
    codes: int


@dataclass(frozen=True)
class EntryUsage:
    """Usage in one entry of the grid: one scale, or one residual depth."""

    tokens: int
    used: int
    utilization: float
    uniform_expectation: float
    perplexity: float


@dataclass(frozen=True)
class UsageReport:
    """Codebook usage over a set of images."""

    codebook_size: int
    """K."""
    images: int
    tokens: int
    """N, over all images and entries of the grid."""
    used: int
    """Distinct codes used."""
    dead: int
    """Codes never used."""
    utilization: float
    """used / K."""
    uniform_expectation: float
    """Utilization to expect of N tokens drawn uniformly: 1 - (1 - 1/K)^N."""
    once: int
    """Codes used a single time."""
    unseen_estimate: float
    """About how many of the codes never used more tokens would show, by Chao's estimate: ``unseen``."""
    perplexity: float
    """2^entropy, between 1 and K: codes it would take at equal use."""
    entropy_bits: float
    max_entropy_bits: float
    """log2 K."""
    most_used: tuple[tuple[int, int], ...]
    """(code, count), the most frequent first."""
    least_used: tuple[tuple[int, int], ...]
    """(code, count) among the used ones, the rarest first."""
    curve: tuple[tuple[int, int], ...]
    """(rank, count) of used codes at ranks that are even on a logarithmic scale, from rank 1."""
    histogram: tuple[Bucket, ...]
    """How many codes were used 0, 1, 2-3, 4-7 ... times."""
    entries: tuple[EntryUsage, ...]
    """One per entry of the grid where it has several, otherwise empty."""


class UsageCounts:
    """Exact counts of every code, per entry of the grid."""

    def __init__(self, codebook_size: int, entries: int = 1) -> None:
        if codebook_size < 1 or entries < 1:
            raise ValueError(f"no codebook has {codebook_size} codes and {entries} entries")
        self.counts_ek: Counts = np.zeros((entries, codebook_size), np.int64)
        self.images = 0

    @classmethod
    def of(
        cls, blocks: Iterable[NDArray[np.integer]], codebook_size: int, grid: Grid | None = None
    ) -> UsageCounts:
        """Counts of tokens that come in blocks (B, L). Raises ValueError where ``add`` does."""
        several = grid if grid and len(grid) > 1 else None
        counts = cls(codebook_size, len(several or (0,)))
        for block in blocks:
            counts.add(block, several)
        return counts

    @property
    def counts_k(self) -> Counts:
        """How often each code was used, over all entries."""
        return self.counts_ek.sum(axis=0)

    def add(self, ids_bl: NDArray[np.integer], grid: Grid | None = None) -> None:
        """Count a batch of tokens (B, L); ``grid`` may be left out where it has one entry.

        Raises ValueError if the tokens do not fit the grid or the codebook.
        """
        entries, size = self.counts_ek.shape
        lengths = [grid_length((entry,)) for entry in grid] if grid else [ids_bl.shape[1]]
        if ids_bl.ndim != 2 or len(lengths) != entries or sum(lengths) != ids_bl.shape[1]:
            raise ValueError(f"tokens of shape {ids_bl.shape} do not fit a grid of {entries} entries, {grid}")
        if ids_bl.size and not 0 <= int(ids_bl.min()) <= int(ids_bl.max()) < size:
            raise ValueError(
                f"tokens from {ids_bl.min()} to {ids_bl.max()} do not fit a codebook of {size} codes"
            )
        for entry, part in enumerate(np.split(ids_bl, np.cumsum(lengths)[:-1], axis=1)):
            self.counts_ek[entry] += np.bincount(part.ravel().astype(np.int64, copy=False), minlength=size)
        self.images += len(ids_bl)

    def merge(self, other: UsageCounts) -> None:
        """Add what another worker counted. Raises ValueError if it counted another codebook or grid."""
        if other.counts_ek.shape != self.counts_ek.shape:
            raise ValueError(f"counts of shape {other.counts_ek.shape} do not fit {self.counts_ek.shape}")
        self.counts_ek += other.counts_ek
        self.images += other.images

    def report(self, top: int = 10) -> UsageReport:
        """Sum up; ``top`` codes are named at either end."""
        counts_k = self.counts_k
        size, total, used = len(counts_k), int(counts_k.sum()), int(np.count_nonzero(counts_k))
        order = np.argsort(-counts_k, kind="stable")[:used]
        ranked = [(int(code), int(counts_k[code])) for code in order[:top]]
        rarest = [(int(code), int(counts_k[code])) for code in order[::-1][:top]]
        ranks = (
            np.unique(np.geomspace(1, used, CURVE_POINTS).round().astype(int)) if used else np.zeros(0, int)
        )
        bits = entropy_bits(counts_k)
        return UsageReport(
            codebook_size=size,
            images=self.images,
            tokens=total,
            used=used,
            dead=size - used,
            utilization=used / size,
            uniform_expectation=uniform_expectation(size, total),
            once=int(np.count_nonzero(counts_k == 1)),
            unseen_estimate=unseen(counts_k),
            perplexity=2**bits,
            entropy_bits=bits,
            max_entropy_bits=math.log2(size),
            most_used=tuple(ranked),
            least_used=tuple(rarest),
            curve=tuple((int(rank), int(counts_k[order[rank - 1]])) for rank in ranks),
            histogram=_histogram(counts_k),
            entries=tuple(map(_entry, self.counts_ek)) if len(self.counts_ek) > 1 else (),
        )


def uniform_expectation(codebook_size: int, tokens: int) -> float:
    """Share of K codes that N uniform tokens use on average, 1 - (1 - 1/K)^N, exact for large ones too."""
    if codebook_size == 1:
        return float(tokens > 0)
    return -math.expm1(tokens * math.log1p(-1 / codebook_size))


def unseen(counts_k: Counts) -> float:
    """How many codes that were not seen more tokens would show: f1 (f1 - 1) / (2 (f2 + 1)) of f1 that were
    seen once and f2 that were seen twice, at most all that are left. What is left beyond may be dead.

    Chao, "Nonparametric estimation of the number of classes in a population", Scandinavian Journal of
    Statistics 11 (1984), in the form without bias; it is a lower bound where use is uneven.
    """
    once, twice = (int(np.count_nonzero(counts_k == n)) for n in (1, 2))
    return min(once * (once - 1) / (2 * (twice + 1)), float(np.count_nonzero(counts_k == 0)))


def entropy_bits(counts: Counts) -> float:
    """Entropy of how often the codes are used; 0 where nothing was counted."""
    share = counts[counts > 0] / max(int(counts.sum()), 1)
    return max(0.0, float(-(share * np.log2(share)).sum()))


def _entry(counts_k: Counts) -> EntryUsage:
    size, total, used = len(counts_k), int(counts_k.sum()), int(np.count_nonzero(counts_k))
    return EntryUsage(total, used, used / size, uniform_expectation(size, total), 2 ** entropy_bits(counts_k))


def _histogram(counts_k: Counts) -> tuple[Bucket, ...]:
    """Codes by how often they were used, in buckets that double, without empty ones below the first use."""
    # frexp gives the number of binary digits exactly: 0 -> 0, 1 -> 1, 2 and 3 -> 2, 4 to 7 -> 3 ...
    digits = np.bincount(np.frexp(counts_k.astype(np.float64))[1])
    buckets = [Bucket(1 << i >> 1, (1 << i) - 1, int(codes)) for i, codes in enumerate(digits)]
    return (buckets[0], *itertools.dropwhile(lambda bucket: not bucket.codes, buckets[1:]))
