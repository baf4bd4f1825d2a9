"""Fréchet distances between sets of images: FID of pooled features, sFID of features with their positions.

Papers: Heusel et al., "FID", https://arxiv.org/abs/1706.08500; Nash et al., "sFID",
https://arxiv.org/abs/2103.03841. Mean and covariance (N - 1) of each side, as ADM's evaluator, torch-fidelity
and clean-fid take them.
Shape letters: B images of a batch, D width, R and S ranks of two covariances.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vqcli.config import PartConfig
from vqcli.errors import VqcliError
from vqcli.metrics.base import UNLIKE, SetMetric, Side, State
from vqcli.metrics.moments import Moments
from vqcli.nn.inception import InceptionFeatures

SYMMETRIC = 1e-5
"""How far a stored covariance may be from its transpose, as a share of its largest entry (float32 files)."""


def frechet_distance(mean_a_d: Tensor, cov_a_dd: Tensor, mean_b_d: Tensor, cov_b_dd: Tensor) -> float:
    """Squared Fréchet distance of two Gaussians, |ma - mb|^2 + tr(A + B - 2 (AB)^(1/2)); all are float64.

    The last trace is the sum of the singular values of A^(1/2) B^(1/2). Eigenvalues of AB would do too, but
    those near 0 keep only half their digits under the root. For the same reason eigenvalues of A and of B
    count as 0, in all three traces, where they are nothing but rounding: where there are fewer images than D,
    many are. Costs O(D^3).
    """
    roots_a_r, vectors_a_dr = _root(cov_a_dd)
    roots_b_s, vectors_b_ds = _root(cov_b_dd)
    # The outer rotations of the two roots change no singular value: they are left out.
    product_rs = roots_a_r[:, None] * (vectors_a_dr.T @ vectors_b_ds) * roots_b_s
    shared = torch.linalg.svdvals(product_rs).sum()
    spread = roots_a_r.square().sum() + roots_b_s.square().sum()
    distance = (mean_a_d - mean_b_d).square().sum() + spread - 2 * shared
    return max(distance.item(), 0.0)  # below 0 only by rounding: 2 * shared <= spread for any two matrices


def _root(cov_dd: Tensor) -> tuple[Tensor, Tensor]:
    """Square roots of the R eigenvalues that count, (R,), and their eigenvectors as columns, (D, R)."""
    values_d, vectors_dd = torch.linalg.eigh(cov_dd)
    counts_d = values_d > values_d.max() * len(values_d) * torch.finfo(torch.float64).eps  # the rule of ranks
    return values_d[counts_d].sqrt(), vectors_dd[:, counts_d]


class FrechetMetric(SetMetric):
    """A Fréchet distance of one kind of features; needs two images a side.

    Statistics that were stored stand for the reference: images of it that are seen all the same do not count.
    They are no part of ``state``.
    """

    NAMES: ClassVar[tuple[str, str]]
    """What mean and covariance are called in ADM's files."""

    def __init__(self, config: PartConfig) -> None:
        super().__init__(config)
        self.moments: dict[Side, Moments] = {"reference": Moments(), "sample": Moments()}
        self.stored: tuple[Tensor, Tensor] | None = None
        """Mean (D,) and covariance (D, D) of the reference that were taken from a file."""
        self.stored_images: int | None = None
        """Of how many images these are, where the file tells."""

    @abstractmethod
    def select(self, features: InceptionFeatures) -> Tensor:
        """The features that are compared, (B, D)."""

    def take_statistics(self, statistics: Mapping[str, np.ndarray]) -> bool:
        if not all(name in statistics for name in self.NAMES):
            return False
        mean_d, cov_dd = (statistics[name] for name in self.NAMES)
        _check(mean_d, cov_dd, " and ".join(self.NAMES))
        self.stored = _float64(mean_d), _float64(cov_dd)
        self.stored_images = int(statistics["images"]) if "images" in statistics else None
        return True

    def observe(self, side: Side, indices: np.ndarray, features: InceptionFeatures) -> None:
        selected_bd = self.select(features)
        if self.stored and len(self.stored[0]) != selected_bd.shape[1]:
            raise VqcliError(
                f"{self.NAMES[0]} has {len(self.stored[0])} numbers, features have {selected_bd.shape[1]}",
                hint="the reference's statistics are those of another network, or of another of its layers",
                reason="layout",
            )
        if not (self.stored and side == "reference"):
            self.moments[side].add(selected_bd)

    def seen(self) -> dict[Side, int]:
        seen = {side: moments.count for side, moments in self.moments.items()}
        if self.stored:
            del seen["reference"]
        return seen if self.stored_images is None else {"reference": self.stored_images, **seen}

    def caution(self) -> str:
        """Too high where a covariance is singular for want of images."""
        width, least = max(moments.width for moments in self.moments.values()), min(self.seen().values())
        return f"fewer than {width:,} features: biased upwards, {UNLIKE}" if least < width else ""

    def statistics(self, side: Side) -> tuple[np.ndarray, np.ndarray]:
        """Mean (D,) and covariance (D, D), float64, as ADM's files store them.

        Raises ValueError if fewer than two images of the side were seen.
        """
        mean_d, cov_dd = self._statistics(side)
        return mean_d.numpy(), cov_dd.numpy()

    def state(self) -> State:
        """``Moments.state`` of each side."""
        sides = self.moments.items()
        return {f"{side}_{key}": value for side, moments in sides for key, value in moments.state().items()}

    def merge(self, state: State) -> None:
        for side, moments in self.moments.items():
            moments.merge({key: state[f"{side}_{key}"] for key in ("count", "mean", "scatter")})

    def result(self) -> dict[str, float]:
        (name,) = self.TITLES
        if min(self.seen().values()) < 2:
            return {}
        return {name: frechet_distance(*self._statistics("reference"), *self._statistics("sample"))}

    def _statistics(self, side: Side) -> tuple[Tensor, Tensor]:
        if self.stored and side == "reference":
            return self.stored
        return self.moments[side].mean, self.moments[side].covariance


def _float64(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float64))


def _check(mean_d: np.ndarray, cov_dd: np.ndarray, what: str) -> None:
    """Raise VqcliError unless these can be a mean and a covariance."""

    def refuse(why: str) -> VqcliError:
        return VqcliError(
            f"{what} {why}", hint="a mean (D,) and a covariance (D, D), as ADM's files hold", reason="damaged"
        )

    if mean_d.dtype.kind != "f" or cov_dd.dtype.kind != "f":
        raise refuse(f"are no floats: {mean_d.dtype} and {cov_dd.dtype}")
    if mean_d.ndim != 1 or not mean_d.size or cov_dd.shape != (mean_d.size, mean_d.size):
        raise refuse(f"have shapes {mean_d.shape} and {cov_dd.shape}")
    if not (np.isfinite(mean_d).all() and np.isfinite(cov_dd).all()):
        raise refuse("are not finite")
    if not np.allclose(cov_dd, cov_dd.T, rtol=0, atol=SYMMETRIC * np.abs(cov_dd).max()):
        raise refuse("do not fit: the covariance is not symmetric")


class Fid(FrechetMetric):
    """Fréchet Inception Distance: how far the pooled features of two sets of images are apart."""

    class Config(PartConfig):
        """FID has no options."""

        name: Literal["fid"] = "fid"

    TITLES: ClassVar[Mapping[str, str]] = {"fid": "FID"}
    NAMES = ("mu", "sigma")

    def select(self, features: InceptionFeatures) -> Tensor:
        return features.pool


class SpatialFid(FrechetMetric):
    """sFID: the same distance of features that keep their positions (seven channels in the middle)."""

    class Config(PartConfig):
        """SFID has no options."""

        name: Literal["sfid"] = "sfid"

    TITLES: ClassVar[Mapping[str, str]] = {"sfid": "sFID"}
    NAMES = ("mu_s", "sigma_s")

    def select(self, features: InceptionFeatures) -> Tensor:
        return features.spatial
