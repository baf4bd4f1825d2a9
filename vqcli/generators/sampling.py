"""How a token is chosen from logits: guidance, temperature, top-k, top-p, inverse of the distribution.

Order and rules: Sun et al., "LlamaGen", https://arxiv.org/abs/2406.06525, its official sampler; of VAR
(Tian et al., https://arxiv.org/abs/2404.02905) its own top-p.
Shape letters: B images, V vocabulary.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from vqcli.config import MOST, PartConfig
from vqcli.errors import VqcliError

COLDEST = 1e-5
"""Temperatures below it count as it."""
MOSTLY = 2048
"""Likeliest tokens that top-p looks at first."""


class DrawConfig(PartConfig):
    """Which tokens may be drawn."""

    temperature: float = Field(1.0, ge=0)
    """What logits are divided by; 0 takes the best token."""
    top_k: int = Field(0, ge=0, le=MOST)
    """Only the k likeliest tokens, and those as likely as the last of them; 0 for all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Only the likeliest tokens that together reach this probability; 1 for all."""

    CROSSING: ClassVar[bool] = True
    """Whether a token is kept before which the others reach ``top_p`` exactly: in LlamaGen's rule it is."""


class SamplingConfig(DrawConfig):
    """Options of sampling token by token."""

    cfg: float = Field(1.0, ge=0)
    """Scale of classifier-free guidance; up to 1 for none."""
    cfg_interval: int = Field(-1, ge=-1, le=MOST)
    """Last token after the first that is guided, counted from 0; -1 to guide all."""


class Finite:
    """Whether all logits of a sampling were finite: looked at once, so that no step waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.all = torch.ones((), dtype=torch.bool, device=device)

    def look(self, logits: Tensor) -> None:
        """Take these into account."""
        self.all &= logits.isfinite().all()

    def require(self) -> None:
        """Raises VqcliError where one was not."""
        if not self.all:
            hint = "try --precision bf16 or fp32"
            raise VqcliError("the generator's logits are not finite", hint=hint, reason="not-finite")


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance, u + s (c - u). Ho & Salimans, https://arxiv.org/abs/2207.12598."""
    return unconditional + (conditional - unconditional) * scale


def draw(logits: Tensor, uniforms: Tensor, config: DrawConfig) -> Tensor:
    """A token (B,) of each row of float32 logits (B, V), from a uniform number (B,) in [0, 1) each.

    The number picks the token whose share of the cumulative distribution it falls in: what an image becomes
    depends on its own logits and number alone.
    """
    logits = filtered(logits, config)
    wide = torch.float32 if logits.device.type == "mps" else torch.float64  # mps knows no float64
    cumulative = logits.softmax(-1).cumsum(-1, dtype=wide)
    target = uniforms.to(cumulative)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp_(max=logits.shape[-1] - 1)


def filtered(logits: Tensor, config: DrawConfig) -> Tensor:
    """Logits (B, V) over the temperature, -inf where a token is left out: first by top-k, then by top-p."""
    logits = logits / max(config.temperature, COLDEST)
    if config.top_k:
        least = logits.topk(min(config.top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if config.top_p == 1:
        return logits
    return keep_likely(logits, config.top_p) if config.CROSSING else keep_within(logits, config.top_p)


def keep_likely(logits: Tensor, top_p: float) -> Tensor:
    """Top-p: the likeliest token is always kept, and so is the one that crosses the line.

    On a CPU only as many tokens are sorted as mostly suffice. Rows that need more, or whose line falls among
    equals, are sorted whole: what is kept depends on the row alone.
    """
    if not logits.is_cpu or logits.shape[-1] <= MOSTLY:
        return _keep_sorted(logits, top_p)
    ordered = logits.topk(MOSTLY).values
    shares = (ordered - logits.logsumexp(-1, keepdim=True)).exp()
    kept = (_before(shares) <= top_p).sum(-1, keepdim=True)
    least, following = ordered.gather(-1, kept - 1), ordered.gather(-1, kept.clamp(max=MOSTLY - 1))
    found = logits.masked_fill(logits < least, -torch.inf)
    unclear = (following >= least)[:, 0]
    if unclear.any():
        found[unclear] = _keep_sorted(logits[unclear], top_p)
    return found


def keep_within(logits: Tensor, top_p: float) -> Tensor:
    """Top-p in VAR's rule: the unlikeliest go that together have at most 1 - p; the likeliest never does."""
    ordered, order = logits.sort()
    gone = ordered.softmax(-1).cumsum(-1) <= 1 - top_p
    gone[:, -1] = False
    return logits.masked_fill(gone.gather(-1, order.argsort(-1)), -torch.inf)


def _keep_sorted(logits: Tensor, top_p: float) -> Tensor:
    ordered, order = logits.sort(descending=True)
    reached = _before(ordered.softmax(-1)) > top_p
    return logits.masked_fill(reached.gather(-1, order.argsort(-1)), -torch.inf)


def _before(shares: Tensor) -> Tensor:
    """What the shares before each are together; the first has none before it."""
    before = shares.cumsum(-1).roll(1, -1)
    before[:, 0] = 0
    return before
