"""EMA codebook: codes are running averages of the vectors assigned to them; nothing is trained by gradient.

Papers: van den Oord et al., https://arxiv.org/abs/1711.00937, appendix A.1; Lee et al., "RQ-VAE",
https://arxiv.org/abs/2203.01941 (revival). The official VQGAN-EMA starts cluster sizes at 0, which throws
unused codes to |e| / eps; here they start at 1, unless ``first_size`` says so.
Shape letters: M vectors compared, K codes, D width.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from vqcli.codebooks.base import Codebook, Init, Restarted, TableConfig, initial_codes
from vqcli.config import MOST
from vqcli.nn.distributed import all_reduce_sum, rank_and_world
from vqcli.nn.nearest import nearest_codes


class EmaCodebook(Codebook):
    """Running averages of the vectors assigned to each code, equal on all processes."""

    class Config(TableConfig):
        """Options of an EMA codebook."""

        name: Literal["ema"] = "ema"
        init: Init = "normal"
        """First codes; they should be about as long as latents: ``normal`` codes have length about 1."""
        decay: float = Field(0.99, gt=0, lt=1)
        """Share of the averages that a step keeps."""
        eps: float = Field(1e-5, gt=0)
        """Laplace smoothing of the cluster sizes."""
        revive_below: float = Field(0.0, ge=0)
        """A code whose cluster size falls below moves to a vector of the step's last pass; 0 for never."""
        first_size: Literal[0, 1] = 1
        """First cluster sizes. 0, as published: a code nobody chooses is its first sum over ``eps``, far
        away, and shrinks back through the latents by 1 - decay a step, if codes start near zero."""
        kmeans: int = Field(0, ge=0, le=MOST)
        """Rounds of k-means over the first step's last pass, which replaces the first codes; 0 for none."""

    TINY: ClassVar[dict[str, Any]] = {"size": 16, "width": 8, "revive_below": 1.0, "kmeans": 2}
    HAS_GRADIENT = False
    config: Config
    weight: Tensor
    sums: Tensor
    counts: Tensor
    started: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config, config.size, config.width)
        self.register_buffer("weight", initial_codes(config.init, config.size, config.width))
        self.register_buffer("sums", self.weight.clone())
        self.register_buffer("counts", torch.full((config.size,), float(config.first_size)))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self.pending: Tensor | None = None
        """Sums and counts (K, D + 1) since the last update."""
        self.seen: Tensor | None = None
        """Vectors (M, D) of the latest pass, where k-means or revival will choose from them."""
        self.clusters: bool | None = None
        """Whether k-means is still to come; None until the first pass asks ``started``."""

    def codes(self) -> Tensor:
        return self.weight.float()

    def adopt(self, codes_kd: Tensor) -> bool:
        self.weight = codes_kd.to(self.weight, copy=True)
        self.sums, self.counts = self.weight.clone(), torch.ones_like(self.counts)
        self.started, self.clusters = torch.ones_like(self.started), False
        return True

    def deciding_tensors(self) -> dict[str, Tensor]:
        return {"weight": self.weight}

    @torch.no_grad()
    def observe(self, vectors_md: Tensor, tokens_m: Tensor) -> None:
        if self.pending is None:
            self.pending = vectors_md.new_zeros(self.size, self.width + 1)
        self.pending.index_add_(0, tokens_m, with_ones(vectors_md))
        if self.clusters is None:  # asked once: looking at a tensor holds up a GPU
            self.clusters = self.config.kmeans > 0 and not self.started
        if self.config.revive_below or self.clusters:
            self.seen = vectors_md

    @torch.no_grad()
    def update(self) -> list[Restarted]:
        """Average, revive, smooth; new tensors every time, since a graph may hold the old ones."""
        if self.pending is None:
            return []
        fresh = self.fresh_vectors() if self.seen is not None else self.pending[:, :0]
        stats = all_reduce_sum(torch.cat([self.pending, fresh], dim=1))
        sums, counts, fresh = stats[:, : self.width], stats[:, self.width], stats[:, self.width + 1 :]
        if self.clusters:
            self.cluster(fresh)
        else:
            self.sums = self.sums.lerp(sums, 1 - self.config.decay)
            self.counts = self.counts.lerp(counts, 1 - self.config.decay)
            if self.config.revive_below:
                self.revive(fresh)
        self.started, self.clusters = torch.ones_like(self.started), False
        total, eps = self.counts.sum(), self.config.eps
        smoothed_k = (self.counts + eps) / (total + self.size * eps) * total
        self.weight = self.sums / smoothed_k[:, None]
        self.pending = self.seen = None
        return []

    def fresh_vectors(self) -> Tensor:
        """Random vectors of this process in random rows of its share, (K, D + 1), marked by a last column."""
        assert self.seen is not None
        rank, world = rank_and_world()
        rows = torch.arange(rank, self.size, world, device=self.seen.device)
        n = min(len(rows), len(self.seen))
        rows = rows[torch.randperm(len(rows), device=rows.device)[:n]]
        table = self.seen.new_zeros(self.size, self.width + 1)
        table[rows] = with_ones(self.seen[torch.randperm(len(self.seen), device=rows.device)[:n]])
        return table

    def revive(self, fresh: Tensor) -> None:
        """Dead codes take the fresh vector of their row, if there is one, with the smallest living size."""
        dead_k1 = ((self.counts < self.config.revive_below) & fresh[:, -1].bool())[:, None]
        self.counts = torch.where(dead_k1[:, 0], self.config.revive_below, self.counts)
        self.sums = torch.where(dead_k1, fresh[:, :-1] * self.config.revive_below, self.sums)

    def cluster(self, fresh: Tensor) -> None:
        """Lloyd's rounds from fresh vectors; rows without one, and empty clusters, keep their codes."""
        assert self.seen is not None
        centers_kd, counts_k = torch.where(fresh[:, -1:].bool(), fresh[:, :-1], self.weight), self.counts
        for _ in range(self.config.kmeans):
            stats = self.seen.new_zeros(self.size, self.width + 1)
            stats.index_add_(0, nearest_codes(self.seen, centers_kd), with_ones(self.seen))
            sums, counts_k = all_reduce_sum(stats)[:, :-1], stats[:, -1]
            centers_kd = torch.where(counts_k[:, None] > 0, sums / counts_k[:, None].clamp(min=1), centers_kd)
        self.counts = counts_k.clamp(min=1)
        self.sums = centers_kd * self.counts[:, None]


def with_ones(vectors_md: Tensor) -> Tensor:
    """(M, D) -> (M, D + 1), the last column 1: what adds up to sums and counts."""
    return torch.cat([vectors_md, vectors_md.new_ones(len(vectors_md), 1)], dim=1)
