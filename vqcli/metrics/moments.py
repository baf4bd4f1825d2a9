"""Mean and covariance of vectors that come batch after batch, in float64.

Shape letters: N vectors, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vqcli.metrics.base import State

BLOCK = 256
"""Vectors that wait before the matrix is touched: going over it costs as much as a dozen of them."""


class Moments:
    """Count, mean and scatter of vectors, float64 on the CPU: one (D, D) matrix, whatever N is.

    Blocks are centred before they are squared, and joined as Chan, Golub and LeVeque do ("Updating formulae
    and a pairwise algorithm for computing sample variances", 1979): a large mean cancels nothing. Blocks are
    cut at the same places however large the batches are.
    """

    def __init__(self) -> None:
        self.width = 0
        """D; 0 before the first vector."""

    def add(self, features_nd: Tensor) -> None:
        """See vectors (N, D). Raises ValueError if their width is another than before."""
        if not len(features_nd):
            return
        self._start(features_nd.shape[1])
        waiting_nd = features_nd.detach().cpu()
        while len(waiting_nd):
            taken_nd = waiting_nd[: BLOCK - self._filled]
            waiting_nd = waiting_nd[len(taken_nd) :]
            self._block_nd[self._filled : self._filled + len(taken_nd)] = taken_nd
            self._filled += len(taken_nd)
            if self._filled == BLOCK:
                self._fold()

    def merge(self, state: State) -> None:
        """Add what another saw. Raises ValueError if its vectors have another width."""
        if not state["count"]:
            return
        self._start(len(state["mean"]))
        self._fold()
        self._scatter_dd += state["scatter"]
        self._join(int(state["count"]), state["mean"])

    def state(self) -> State:
        """``count`` (), ``mean`` (D,) and ``scatter`` (D, D): no copies, what is added later shows."""
        if not self.width:
            none = torch.zeros(0, dtype=torch.float64)
            return {"count": torch.tensor(0), "mean": none, "scatter": none.view(0, 0)}
        self._fold()
        return {"count": torch.tensor(self._folded), "mean": self._mean_d, "scatter": self._scatter_dd}

    @property
    def count(self) -> int:
        """N."""
        return self._folded + self._filled if self.width else 0

    @property
    def mean(self) -> Tensor:
        """(D,)."""
        return self.state()["mean"]

    @property
    def covariance(self) -> Tensor:
        """(D, D), with N - 1. Raises ValueError if fewer than two vectors were seen."""
        if self.count < 2:
            raise ValueError(f"no covariance of {self.count} vectors")
        return self.state()["scatter"] / (self.count - 1)

    def _start(self, width: int) -> None:
        if not self.width:
            self.width = width
            self._folded, self._filled = 0, 0
            self._mean_d = torch.zeros(width, dtype=torch.float64)
            self._scatter_dd = torch.zeros(width, width, dtype=torch.float64)
            self._block_nd = torch.empty(BLOCK, width, dtype=torch.float64)
        if width != self.width:
            raise ValueError(f"vectors of width {width} do not fit those of width {self.width}")

    def _fold(self) -> None:
        """Move what waits into mean and scatter."""
        if not self._filled:
            return
        rows_nd = self._block_nd[: self._filled]
        mean_d = rows_nd.mean(0)
        rows_nd -= mean_d
        self._scatter_dd.addmm_(rows_nd.T, rows_nd)
        self._join(self._filled, mean_d)
        self._filled = 0

    def _join(self, count: int, mean_d: Tensor) -> None:
        """Move the mean by that of ``count`` more vectors, whose own scatter is in the matrix already."""
        total = self._folded + count
        shift_d = mean_d - self._mean_d
        self._scatter_dd.addr_(shift_d, shift_d, alpha=self._folded * count / total)
        self._mean_d += shift_d * (count / total)
        self._folded = total
