"""k-means on the nearest-code search: as many distinct centres as wanted, of vectors that stay on the disk.

Start: k-means++ (Arthur and Vassilvitskii, SODA 2007) on a seeded sample. Then Lloyd's iterations: the first
half of them over the sample (fewer if it has nothing left to move), the others over all vectors. All but the
last two overshoot the means: with any factor below 2 the objective never rises, and it falls much faster.
Vectors are float16 because their sums in float64 are then exact, as long as they stay below 2^29: a float16
is a multiple of 2^-24, and float64 has 53 bits. So sums do not depend on the order of blocks, on the number
of processes or on a GPU's threads.
Shape letters: N vectors, K centres, F width, S vectors of the sample, B vectors of a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from vqcli.nn.distributed import all_reduce_sum, rank_and_world
from vqcli.nn.nearest import nearest_codes

BLOCK = 16384
"""Vectors of a block where they are held in memory."""
SAMPLE = 32
"""Vectors of the sample, times the number of centres."""
LEAST_SAMPLE = 1 << 16
OVERSHOOT = 1.8
"""Way of a centre in one iteration, times the way to the mean of its vectors."""
EXACT = 2
"""Last iterations, which end at the means."""
CALM = 1e-6
"""Share of the objective; where the last iteration took less off it, the next ends at the means too."""
DRAWS = 512
"""Centres that one round of k-means++ proposes at most."""


@dataclass(frozen=True)
class Vectors:
    """Vectors (N, F) in blocks that are read one at a time, float16 and finite."""

    lengths: list[int]
    """Vectors of every block."""
    read: Callable[[int], Tensor]
    """A block, (B, F), by its number."""

    @property
    def count(self) -> int:
        """Number N of all vectors."""
        return sum(self.lengths)


def held(vectors_nf: Tensor) -> Vectors:
    """Vectors that are in memory, float16 (N, F)."""
    blocks = vectors_nf.split(BLOCK)
    return Vectors([len(block) for block in blocks], blocks.__getitem__)


@dataclass(frozen=True)
class Clusters:
    """k-means after some iterations: all that the next one needs beside the vectors."""

    codes_kf: Tensor
    """Centres, float32 on the CPU, all different."""
    objectives: list[float]
    """Mean squared distance that every iteration found before it moved centres, over what it went through."""
    whole: bool = False
    """Whether the sample is done with: the next iteration goes over all vectors."""
    settled: bool = False
    """Whether the last iteration went over all vectors and moved nothing."""


@dataclass(frozen=True)
class KMeansOptions:
    """What decides the centres, beside the vectors and their blocks."""

    size: int
    """Centres K."""
    iterations: int = 20
    """Lloyd's iterations at most, those over the sample included."""
    seed: int = 0


class KMeans:
    """k-means of vectors. With ``together`` all processes work on the same centres, each on its blocks."""

    def __init__(
        self,
        vectors: Vectors,
        options: KMeansOptions,
        device: torch.device | str = "cpu",
        *,
        together: bool = False,
        advance: Callable[[int], None] = lambda n: None,
    ) -> None:
        """``advance`` is told how many vectors this process has gone through."""
        self.vectors, self.options, self.device = vectors, options, torch.device(device)
        self.rank, self.world = rank_and_world() if together else (0, 1)
        self.advance = advance

    @cached_property
    def sample_sf(self) -> Tensor:
        """The seeded sample that the start and the first iterations see. Raises ValueError if it is empty."""
        if not self.vectors.count:
            raise ValueError(f"no vectors do not make {self.options.size:,} centres")
        return sampled(self.vectors, max(SAMPLE * self.options.size, LEAST_SAMPLE), self.options.seed)

    def start(self) -> Clusters:
        """The k-means++ start. Raises ValueError if there are fewer distinct vectors than centres."""
        width = self.sample_sf.shape[1]
        codes_kf = self._spread(torch.empty(0, width), self.options.size, 0)
        return Clusters(
            codes_kf, [], self.options.iterations < 2 or len(self.sample_sf) == self.vectors.count
        )

    def finished(self, clusters: Clusters) -> bool:
        """Whether nothing is left to be done."""
        return clusters.settled or len(clusters.objectives) >= self.options.iterations

    def work(self, done: int) -> int:
        """Vectors that this process has yet to go through at most, after ``done`` iterations."""
        over_sample = max(0, self.options.iterations // 2 - done)
        over_all = 1 + self.options.iterations - done - over_sample  # the last one measures
        return (over_sample * len(self.sample_sf) + over_all * self.vectors.count) // self.world

    def step(self, clusters: Clusters) -> Clusters:
        """One of Lloyd's iterations; a centre that is nearest to nothing moves where k-means++ would put it.

        A pure function of its argument: continued from a stored state, k-means ends with the same bits.
        """
        done = len(clusters.objectives) + 1
        over = self.vectors if clusters.whole else held(self.sample_sf)
        sums_kf, counts_k, objective = self._pass(over, clusters.codes_kf)
        codes_kf, means_kf = clusters.codes_kf.double(), sums_kf / counts_k[:, None].clamp(min=1)
        exact = done > self.options.iterations - EXACT or calm(clusters.objectives)
        codes_kf = (means_kf if exact else codes_kf.lerp(means_kf, OVERSHOOT)).float()
        vacant_k = (counts_k == 0) | repeated(codes_kf)
        if vacant_k.any():
            codes_kf[vacant_k] = self._spread(codes_kf[~vacant_k], int(vacant_k.sum()), done)
        still = torch.equal(codes_kf, clusters.codes_kf)
        whole = clusters.whole or still or done >= self.options.iterations // 2
        return Clusters(codes_kf, [*clusters.objectives, objective], whole, still and clusters.whole)

    def measure(self, clusters: Clusters) -> float:
        """Mean squared distance of all vectors to their nearest centres."""
        return self._pass(self.vectors, clusters.codes_kf)[2]

    def _pass(self, over: Vectors, codes_kf: Tensor) -> tuple[Tensor, Tensor, float]:
        """Sums (K, F) and counts (K,) of the vectors nearest to each centre, and their mean squared distance.

        One all-reduce, which adds exact numbers, or numbers to zeros: any number of processes has one result.
        """
        (k, width), blocks = codes_kf.shape, len(over.lengths)
        where = "cpu" if self.device.type == "mps" else self.device  # has no float64
        stats = torch.zeros(k * (width + 1) + blocks, dtype=torch.float64, device=where)
        table_kx, squares = stats[:-blocks].view(k, width + 1), stats[-blocks:]
        codes_kf = codes_kf.to(self.device)
        for i in range(self.rank, blocks, self.world):
            vectors_bf = over.read(i).to(self.device).float()
            tokens_b = nearest_codes(vectors_bf, codes_kf)
            squares[i] = (vectors_bf - codes_kf[tokens_b]).square().sum(1).to(where).double().sum()
            ones_b1 = vectors_bf.new_ones(len(vectors_bf), 1)
            table_kx.index_add_(0, tokens_b.to(where), torch.cat([vectors_bf, ones_b1], 1).to(where).double())
            self.advance(len(vectors_bf))
        if self.world > 1:
            all_reduce_sum(stats)
        objective = math.fsum(squares.tolist()) / over.count  # exactly rounded: blocks in any order
        table_kx = table_kx.cpu()
        return table_kx[:, :-1], table_kx[:, -1], objective

    def _spread(self, codes_kf: Tensor, count: int, round_: int) -> Tensor:
        """``count`` more centres beside those there are, the same on all processes. Raises ValueError."""
        sample_sf = self.sample_sf
        while True:
            rng = np.random.default_rng([self.options.seed, round_])
            found = spread(sample_sf, codes_kf, count, rng, self.device)
            if len(found) == count:
                break
            if len(sample_sf) == self.vectors.count:
                distinct = len(codes_kf) + len(found)
                raise ValueError(
                    f"{distinct:,} different vectors do not make {len(codes_kf) + count:,} centres"
                )
            sample_sf = sampled(self.vectors, 4 * len(sample_sf), self.options.seed)
        if self.world > 1:  # machines may round differently
            found = all_reduce_sum((found if self.rank == 0 else torch.zeros_like(found)).to(self.device))
        return found.cpu()


def calm(objectives: list[float]) -> bool:
    """Whether the objective has hardly fallen of late."""
    return len(objectives) > 1 and objectives[-2] - objectives[-1] <= CALM * objectives[-1]


def sampled(vectors: Vectors, count: int, seed: int) -> Tensor:
    """About ``count`` of the vectors, from every block its share; all of them where there are no more."""
    total, end, parts = vectors.count, 0, []
    for i, length in enumerate(vectors.lengths):
        start, end = end, end + length
        share = min(length, end * count // total - start * count // total)
        if share:
            rows = np.sort(np.random.default_rng([seed, i, 1]).permutation(length)[:share])
            parts.append(vectors.read(i)[torch.from_numpy(rows)])
    return torch.cat(parts)


def repeated(codes_kf: Tensor) -> Tensor:
    """Which rows stand further up already, bool (K,)."""
    _, of_k = codes_kf.unique(dim=0, return_inverse=True)
    first_k = torch.full_like(of_k, len(of_k)).scatter_reduce_(0, of_k, torch.arange(len(of_k)), "amin")
    return first_k[of_k] < torch.arange(len(of_k))


def spread(
    sample_sf: Tensor, codes_kf: Tensor, count: int, rng: np.random.Generator, device: torch.device
) -> Tensor:
    """k-means++: rows of the sample, each drawn with the square of its distance to all centres before it.

    Distances are brought up to date once a round, not once a centre: a round draws from the old ones and
    accepts a row with the share that is left of its own, which is the same distribution. Fewer rows than
    ``count`` where every vector of the sample is a centre. float32 (up to ``count``, F), on the CPU.
    """
    taken, chosen = {_digest(code) for code in codes_kf}, [codes_kf[:0]]
    if len(codes_kf):
        squares_s = _squares(sample_sf, codes_kf, device)
    else:
        first = sample_sf[[int(rng.integers(len(sample_sf)))]].float()
        chosen, taken = [first], {_digest(first[0])}
        squares_s = _squares(sample_sf, first, device)
    while (missing := len(codes_kf) + count - len(taken)) and squares_s.any():
        ends_s = np.cumsum(squares_s, dtype=np.float64)
        draws = min(missing, max(1, len(taken) // 8), DRAWS)
        rows = np.searchsorted(ends_s, rng.random(draws) * ends_s[-1], side="right").clip(max=len(ends_s) - 1)
        rows_rf = sample_sf[torch.from_numpy(rows)].float()
        fresh = []
        for i in _accepted(rows_rf, squares_s[rows], rng):
            if (digest := _digest(rows_rf[i])) in taken:
                squares_s[rows[i]] = 0  # the search took a neighbour for nearer than this row's own copy
            else:
                taken.add(digest)
                fresh.append(i)
        if fresh:
            chosen.append(rows_rf[fresh])
            squares_s = np.minimum(squares_s, _squares(sample_sf, rows_rf[fresh], device))
    return torch.cat(chosen)


def _digest(row_f: Tensor) -> bytes:
    return blake2b((row_f + 0.0).numpy().tobytes(), digest_size=16).digest()  # -0 is 0


def _accepted(rows_rf: Tensor, squares_r: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Rows of one round that stay: each by what those before it left of its squared distance, as a share."""
    between_rr = torch.cdist(rows_rf, rows_rf, compute_mode="donot_use_mm_for_euclid_dist").square().numpy()
    left_r, kept = squares_r.copy(), []
    for i, luck in enumerate(rng.random(len(rows_rf))):
        if luck * squares_r[i] < left_r[i]:
            kept.append(i)
            left_r = np.minimum(left_r, between_rr[i])
    return kept


def _squares(sample_sf: Tensor, codes_kf: Tensor, device: torch.device) -> np.ndarray:
    """Squared distance of every vector to its nearest centre, (S,); 0 where it is one."""
    codes_kf, parts = codes_kf.to(device), []
    for block in sample_sf.split(BLOCK):
        vectors_bf = block.to(device).float()
        parts.append((vectors_bf - codes_kf[nearest_codes(vectors_bf, codes_kf)]).square().sum(1).cpu())
    return torch.cat(parts).numpy()
