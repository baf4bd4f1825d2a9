"""A sample of latents, taken while images are encoded: no image is read twice.

Shape letters: B images, D code width, h, w sides of latents, N vectors compared, K codes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vqcli.metrics.usage.counts import Counts
from vqcli.metrics.usage.latents import LatentGeometry, Metric, Vectors, measure_latents
from vqcli.quantizers.base import Quantizer, sides
from vqcli.types import grid_length

LATENTS = 4096
"""Vectors that are kept."""
FEWEST = 16
"""Images they come from at least, if there are so many."""


class LatentSample:
    """What a quantizer compares with its codes, of images spread over a source of ``images``."""

    def __init__(self, quantizer: Quantizer, images: int) -> None:
        self.quantizer, self.images = quantizer, images
        self.missing = ""
        """Why nothing can be sampled, in words."""
        if quantizer.codebook.IMPLICIT:
            self.missing = f"codes of a codebook '{quantizer.codebook.name}' follow from a rule"
        self.codes_kd = torch.empty(0) if self.missing else quantizer.codes().detach()
        self.metric: Metric = "l2"
        self.chosen: np.ndarray | None = None
        """Numbers of the images it comes from; the first latents tell how many it takes."""
        self.found: list[Vectors] = []
        self.keys: list[np.ndarray] = []
        """A random number a vector: the lowest stay."""
        self.rng = np.random.default_rng(0)

    def watch(self, indices: np.ndarray, latents: Tensor) -> None:
        """Take what is compared of the latents (B, D, h, w) of images with these numbers (B,)."""
        if self.chosen is None:
            positions = grid_length(self.quantizer.grid(*sides(latents)))
            wanted = min(self.images, max(FEWEST, LATENTS // positions))
            self.chosen = np.unique(np.linspace(0, self.images - 1, wanted).astype(np.int64))
        for i in np.flatnonzero(np.isin(indices, self.chosen)).tolist():
            if not self.missing:
                self.add(latents[i : i + 1])

    def add(self, latents: Tensor) -> None:
        """Take the latents (1, D, h, w) of an image."""
        compared = self.quantizer.compared(latents, self.codes_kd)
        if isinstance(compared, str):
            self.missing = compared
            return
        self.metric = compared.metric
        self.found.append(compared.vectors_nd.cpu().numpy())
        self.keys.append(self.rng.random(len(compared.vectors_nd)))
        if sum(map(len, self.found)) > 4 * LATENTS:
            self.thin()

    def thin(self) -> None:
        """Keep ``LATENTS`` vectors, each as likely as any other."""
        z_nd, keys_n = np.concatenate(self.found), np.concatenate(self.keys)
        kept = np.sort(np.argsort(keys_n)[:LATENTS])
        self.found, self.keys = [z_nd[kept]], [keys_n[kept]]

    def measure(self, counts_k: Counts) -> LatentGeometry | None:
        """The sample against the codes, of which ``counts_k`` tells how often each was used."""
        if not self.found:
            self.missing = self.missing or "the images they would have come from could not be used"
            return None
        self.thin()
        return measure_latents(self.found[0], self.codes_kd.cpu().numpy(), counts_k, self.metric)
