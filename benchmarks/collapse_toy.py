"""A toy whose latents and codes can be seen: the trainings behind the pictures of docs/collapse.md.

Points stand in for images: 16 numbers that are smooth functions of two. A small network encodes them to two
dimensions; quantizers and codebooks are vqcli's own.
Shape letters: N points, K codes, D = 2 code width, F = 16 numbers of a point.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from vqcli.metrics.usage.counts import UsageCounts
from vqcli.quantizers.base import Quantizer
from vqcli.registry import resolve
from vqcli.training.recipe import ScheduleConfig
from vqcli.training.schedules import rate_factor

CODES, BATCH, COUNTED, EVERY = 256, 256, 16384, 10
"""Codes; points of a step and of a count; steps between counts over the points of those steps."""


CONSTANT = ScheduleConfig(decay="constant")
View = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Latents (N, 2), codes (K, 2), and how often each was used over ``COUNTED`` points (K,)."""


@dataclass(frozen=True)
class Toy:
    """One training: a codebook, a quantizer, a schedule."""

    codebook: dict[str, Any]
    quantizer: dict[str, Any] = field(default_factory=dict)
    schedule: ScheduleConfig = CONSTANT
    steps: int = 1000
    lr: float = 2e-3
    shown: tuple[int, ...] = ()
    """Steps after which latents and codes are kept."""
    counts_from_zero: bool = False
    """EMA cluster sizes as the official code starts them."""


@dataclass
class Seen:
    """What a training showed."""

    views: dict[int, View] = field(default_factory=dict)
    """By step."""
    usage: list[tuple[int, float, float]] = field(default_factory=list)
    """(step, utilization since the last line, learning rate)."""


def points(n: int, generator: torch.Generator) -> Tensor:
    """(N, F): smooth functions of two uniform numbers, always the same functions."""
    uv_n2 = torch.rand(n, 2, generator=generator) * 2 - 1
    waves = torch.Generator().manual_seed(7)
    direction_2f, phase_f = torch.randn(2, 16, generator=waves) * 1.5, torch.rand(16, generator=waves) * 6.3
    return torch.sin(uv_n2 @ direction_2f + phase_f)


def train(toy: Toy, seed: int = 0) -> Seen:
    """Train a toy; two hidden layers on either side."""
    torch.manual_seed(seed)
    generator, seen = torch.Generator().manual_seed(seed), Seen()
    encoder = nn.Sequential(nn.Linear(16, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
    decoder = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 16))
    codebook = made("codebooks", {"name": "learned", "size": CODES, "width": 2} | toy.codebook)
    if toy.counts_from_zero:
        codebook.counts = torch.zeros(CODES)
    quantizer: Quantizer = made("quantizers", {"name": "nearest"} | toy.quantizer, codebook)
    parts = nn.ModuleList([encoder, decoder, quantizer])
    optimizer = torch.optim.Adam([p for p in parts.parameters() if p.requires_grad], betas=(0.9, 0.95))
    counts = UsageCounts(CODES)
    for step in range(toy.steps + 1):
        if step in toy.shown:
            seen.views[step] = look(encoder, quantizer)
        if step == toy.steps:
            break
        rate = toy.lr * rate_factor(toy.schedule, step, toy.steps, 1)
        optimizer.param_groups[0]["lr"] = rate
        x_nf = points(BATCH, generator)
        quantized = quantizer(encoder(x_nf).T[None, :, :, None])
        loss = F.mse_loss(decoder(quantized.latents[0, :, :, 0].T), x_nf) + sum(quantized.losses.values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        quantizer.update()
        counts.add(quantized.tokens.ids.numpy())
        if (step + 1) % EVERY == 0:
            seen.usage.append((step + 1, counts.report().utilization, rate))
            counts = UsageCounts(CODES)
    return seen


def made(kind: str, options: dict[str, Any], *parts: Any) -> Any:
    """A registered part from its options."""
    part = resolve(kind, options["name"])
    return part(part.Config(**options), *parts)


@torch.no_grad()
def look(encoder: nn.Module, quantizer: Quantizer) -> View:
    """Latents, codes, and counts over points no training saw."""
    z_nd = encoder(points(COUNTED, torch.Generator().manual_seed(10**6)))
    ids = quantizer.tokenize(z_nd.T[None, :, :, None]).ids
    counts_k = np.bincount(ids.numpy().ravel(), minlength=CODES)
    return z_nd.numpy(), quantizer.codes().detach().numpy().copy(), counts_k
