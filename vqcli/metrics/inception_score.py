"""Inception Score: how sure the network is of each image, and how evenly classes occur among them.

Paper: Salimans et al., "Improved Techniques for Training GANs", https://arxiv.org/abs/1606.03498.
exp of the mean KL(p || mean p) within each part of the set, then the mean over parts. The more images a part
has, the higher the score. How the set is cut differs: torch-fidelity shuffles it and makes ten parts; ADM's
evaluator takes 5,000 images after 5,000 in the order of the file (the last part may be smaller, and counts as
much). Images in the order of their classes need shuffling: a part with few classes scores low.
Shape letters: B images of a batch, N images in all, S parts, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from vqcli.config import PartConfig
from vqcli.metrics.base import UNLIKE, SetMetric, Side, State
from vqcli.nn.inception import InceptionFeatures


class InceptionScore(SetMetric):
    """Inception Score of the samples.

    Sums are kept, in float64, one row of C a part; of an image nothing but the number of its part. An image
    that turns out unusable leaves its part smaller; the others stay where they are.
    """

    class Config(PartConfig):
        """Options of the Inception Score: by default torch-fidelity's; with ``chunk`` alone ADM's."""

        name: Literal["inception_score"] = "inception_score"
        splits: int | None = Field(10, ge=1)
        """Parts of equal size; none where ``chunk`` is given."""
        chunk: int | None = Field(None, ge=1)
        """Images a part, instead of ``splits``; then nothing is shuffled unless ``seed`` is given."""
        seed: int | None = Field(2020, ge=0, lt=2**32)
        """Of numpy's RandomState, whose permutation of the images is cut; none: the order of the set."""

        @model_validator(mode="before")
        @classmethod
        def cut_as_adm(cls, data: Any) -> Any:
            """Give ``chunk`` the defaults that go with it."""
            if isinstance(data, dict) and data.get("chunk") is not None:
                return {"splits": None, "seed": None, **data}
            return data

        @model_validator(mode="after")
        def one_way(self) -> InceptionScore.Config:
            """Refuse both ways to cut, and none."""
            if (self.splits is None) == (self.chunk is None):
                raise ValueError("the Inception Score needs splits or chunk, and not both")
            return self

    SIDES: ClassVar[frozenset[Side]] = frozenset({"sample"})
    TINY: ClassVar[dict[str, Any]] = {"splits": 2}
    TITLES: ClassVar[Mapping[str, str]] = {
        "inception_score": "Inception Score",
        "inception_score_std": "its std over parts",
    }
    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.parts_n: Tensor | None = None
        """Number of the part of each image, (N,)."""
        self.count_s = torch.zeros(0, dtype=torch.int64)
        self.entropy_s = torch.zeros(0, dtype=torch.float64)
        """Sum of the entropies of its images, in nats."""
        self.total_sc = torch.zeros(0, 0, dtype=torch.float64)
        """Sum of their probabilities."""

    def expect(self, samples: int) -> None:
        self.parts_n = _parts(samples, self.config)

    def observe(self, side: Side, indices: np.ndarray, features: InceptionFeatures) -> None:
        """See samples. Raises ValueError if nobody told how many there will be."""
        if self.parts_n is None:
            raise ValueError("the Inception Score has to know the number of samples first: expect()")
        log_bc = features.logits.detach().cpu().double().log_softmax(1)
        p_bc, parts_b = log_bc.exp(), self.parts_n[torch.from_numpy(indices)]
        self._start(int(self.parts_n.max()) + 1, p_bc.shape[1])
        self.count_s.index_add_(0, parts_b, torch.ones_like(parts_b))
        self.entropy_s.index_add_(0, parts_b, -(p_bc * log_bc).sum(1))
        self.total_sc.index_add_(0, parts_b, p_bc)

    def state(self) -> State:
        """``count`` and ``entropy`` (S,) and ``total`` (S, C); S and C are 0 before the first image."""
        return {"count": self.count_s, "entropy": self.entropy_s, "total": self.total_sc}

    def merge(self, state: State) -> None:
        if len(state["count"]):
            self._start(*state["total"].shape)
            self.count_s += state["count"]
            self.entropy_s += state["entropy"]
            self.total_sc += state["total"]

    def seen(self) -> dict[Side, int]:
        return {"sample": int(self.count_s.sum())}

    def caution(self) -> str:
        """Too low where a part has fewer images than there are classes: none of it can score higher."""
        parts, classes = int((self.count_s > 0).sum()), self.total_sc.shape[1]
        images = int(self.count_s.sum()) // max(parts, 1)
        return (
            f"{images:,} a part, fewer than {classes:,} classes: too low, {UNLIKE}"
            if images < classes
            else ""
        )

    def result(self) -> dict[str, float]:
        """Mean and standard deviation (of S, not S - 1) over the parts that hold an image."""
        seen_s = self.count_s > 0
        if not seen_s.any():
            return {}
        count_s, mean_sc = self.count_s[seen_s], self.total_sc[seen_s] / self.count_s[seen_s, None]
        # mean KL(p || mean p) is the entropy of the mean less the mean of the entropies
        scores_s = (torch.special.entr(mean_sc).sum(1) - self.entropy_s[seen_s] / count_s).exp()
        found = {"inception_score": scores_s.mean().item()}
        if len(scores_s) > 1:
            found["inception_score_std"] = scores_s.std(correction=0).item()
        return found

    def _start(self, parts: int, classes: int) -> None:
        if not len(self.count_s):
            self.count_s = torch.zeros(parts, dtype=torch.int64)
            self.entropy_s = torch.zeros(parts, dtype=torch.float64)
            self.total_sc = torch.zeros(parts, classes, dtype=torch.float64)


def _parts(samples: int, config: InceptionScore.Config) -> Tensor:
    """Number of the part of each of N images, (N,)."""
    places_n = np.arange(samples)
    if config.seed is not None:  # place i of the shuffled set holds image shuffled[i]
        places_n[np.random.RandomState(config.seed).permutation(samples)] = np.arange(samples)
    if config.chunk is not None:
        return torch.from_numpy(places_n // config.chunk)
    assert config.splits is not None
    ends = [part * samples // config.splits for part in range(1, config.splits)]
    return torch.from_numpy(np.searchsorted(ends, places_n, side="right"))
