"""VAR: all tokens of a scale at once, from the sum of the coarser scales, which a tokenizer's codes make.

Paper: Tian et al., "VAR", https://arxiv.org/abs/2404.02905, section 3; sizes, start and sampling as in the
official code. It takes any tokenizer whose tokens are squares that grow.
Shape letters: B images, n tokens of a scale, L of all scales, C width, D code width, K codes, h, w sides.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli.config import DEEPEST, MOST, MOST_CLASSES, WIDEST, PartConfig
from vqcli.generators.base import Generator, Streams, drawn, hidden_classes
from vqcli.generators.sampling import DrawConfig, Finite, draw, filtered, guide
from vqcli.nn.adaln import AdaLnBlock, AdaLnHead
from vqcli.nn.attention import KeyValueCache
from vqcli.nn.drop_path import rising
from vqcli.nn.precision import float32
from vqcli.types import Grid, Latents, Made, Makes, Progress, TokenizerSpec, Tokens, silent

FIRST = 2
"""Scales that are in from the start where finer ones come in later."""


class VarSampling(DrawConfig):
    """Options of sampling scale by scale."""

    CROSSING: ClassVar[bool] = False
    cfg: float = Field(1.5, ge=0)
    """Guidance t of the last scale, 0 at the first and rising linearly: (1 + t) c - t u; 0 for none."""
    more_smooth: bool = False
    """Images of mixed codes in the place of drawn ones: smoother, without tokens, for looking at."""


def _size(layers: int, **options: Any) -> dict[str, Any]:
    sizes = {"layers": layers, "heads": layers, "width": 64 * layers, "drop_path": 0.1 * layers / 24}
    return sizes | options


class VarConfig(PartConfig):
    """Shape, start and dropouts of a VAR; codes and scales are the tokenizer's."""

    name: Literal["var"] = "var"
    classes: int = Field(1000, ge=1, le=MOST_CLASSES)
    layers: int = Field(16, ge=1, le=DEEPEST)
    heads: int = Field(16, ge=1, le=WIDEST)
    width: int = Field(1024, ge=1, le=WIDEST)
    attention: Literal["cosine", "plain"] = "cosine"
    """``cosine`` as published: queries and keys of unit length, and a learned scale a head."""
    adaln: Literal["separate", "shared"] = "separate"
    """Whether each block has a map of its own from the class to scales, shifts and gates."""
    gate_start: float = Field(1e-3, ge=0)
    """What the gates' first weights are multiplied by: published, 1e-3 down to 5e-6 for deeper networks."""
    class_dropout: float = Field(0.1, ge=0, le=1)
    """Share of training images whose class is hidden: what makes guidance possible."""
    drop_path: float = Field(0.1 * 16 / 24, ge=0, lt=1)
    """Share of branches left out in the last block; rising linearly from 0 in the first."""
    progressive: int = Field(0, ge=0, le=MOST)
    """Optimizer steps over which finer scales come in, one after the other; 0, as published, for none."""
    sampling: VarSampling = VarSampling()
    """Defaults of ``vqcli generate``."""

    DIAL: ClassVar[str] = "size"
    SIZES: ClassVar[dict[str, dict[str, Any]]] = {
        "d12": _size(12),
        "d16": _size(16),
        "d20": _size(20),
        "d24": _size(24, gate_start=1e-4),
        "d30": _size(30, gate_start=1e-5),
        "d36-s": _size(36, gate_start=5e-6, adaln="shared"),
    }

    @model_validator(mode="after")
    def heads_fit(self) -> VarConfig:
        """Heads share the width."""
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads = {self.heads}, not {self.width}")
        return self

    @model_validator(mode="after")
    def guidance_is_learned(self) -> VarConfig:
        """Who is never trained without a class cannot be guided by it."""
        if self.sampling.cfg and not self.class_dropout:
            raise ValueError("sampling.cfg above 0 needs a class_dropout above 0")
        return self


class Var(Generator):
    """Next-scale prediction over a multi-scale tokenizer's tokens, VAR's; sizes d12 to d36-s."""

    Config: ClassVar[type[PartConfig]] = VarConfig
    TINY: ClassVar[dict[str, Any]] = {
        "classes": 4, "layers": 2, "heads": 2, "width": 16, "drop_path": 0.1, "progressive": 2
    }  # fmt: skip
    makes: ClassVar[Makes] = "tokens"
    NEEDS: ClassVar[tuple[Literal["codes"], ...]] = ("codes",)
    LOSSES: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    UNGUIDED: ClassVar[float] = 0.0
    UNDECAYED: ClassVar[tuple[str, ...]] = ("start", "positions", "scale_embedding.weight", ".own", ".scale")
    config: VarConfig

    def __init__(self, config: VarConfig, spec: TokenizerSpec) -> None:
        super().__init__(config, spec)
        self.null_class = config.classes if config.class_dropout else None
        width, self.counts = config.width, [h * w for h, w in self.grid]
        self.begins = [0, *accumulate(self.counts)]
        """Where each scale's tokens begin, and L."""
        self.class_embedding = nn.Embedding(config.classes + 1, width)
        self.start = nn.Parameter(torch.zeros(1, self.counts[0], width))
        self.code_map = nn.Linear(spec.width, width)
        self.positions = nn.Parameter(torch.zeros(1, self.begins[-1], width))
        self.scale_embedding = nn.Embedding(len(self.grid), width)
        shared = config.adaln == "shared"
        self.condition = nn.Linear(width, 6 * width) if shared else None
        self.blocks = nn.ModuleList(
            AdaLnBlock(
                width,
                config.heads,
                cosine=config.attention == "cosine",
                shared=shared,
                path=rising(config.drop_path, layer, config.layers),
            )
            for layer in range(config.layers)
        )
        self.head = AdaLnHead(width, spec.codebook_size)
        self.step = 0
        self.compiled: Callable[..., Tensor] | None = None
        self._begin()

    @classmethod
    def misfit(cls, grid: Grid) -> str:
        if len(grid) > 1 and all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(grid)):
            return ""
        return "makes tokens scale by scale: its tokenizer must be a multi-scale one"

    @torch.no_grad()
    def _begin(self) -> None:
        """The published start: truncated normal weights, small gates, a head that is nearly uniform."""
        config, std = self.config, (1 / (3 * self.config.width)) ** 0.5
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.trunc_normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for table in (self.start, self.positions):
            nn.init.trunc_normal_(table, std=std)
        self.head.map.weight *= 0.02
        self.head.condition.weight *= 0.5
        for block in self.blocks:
            assert isinstance(block, AdaLnBlock)
            block.begin(config.layers, config.gate_start)

    def begin_step(self, step: int) -> None:
        self.step = step

    def forward(self, made: Made, labels: Tensor) -> dict[str, Tensor]:
        assert isinstance(made, Tokens)
        weights_l = self.weights(labels.device)
        ids = made.ids[:, : len(weights_l)]
        if self.training:
            labels = hidden_classes(labels, self.config.class_dropout, self.config.classes)
        logits = self.logits(labels, ids)
        each_bl = F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view_as(ids)
        return {"cross_entropy": (each_bl * weights_l).sum(1).mean() / self.begins[-1]}

    def logits(self, labels: Tensor, ids: Tensor) -> Tensor:
        """Teacher-forced float32 logits (B, T, K) of the tokens (B, T) of the first scales, or of all."""
        x = torch.cat([self.first(labels), self.embed(self.teacher(ids), 1)], dim=1)
        return self.run(x, self.class_embedding(labels), self.sees(x.device)[: x.shape[1], : x.shape[1]])

    @torch.no_grad()
    def teacher(self, ids: Tensor) -> Tensor:
        """What the scales after the first see of tokens (B, T): the coarser scales' sum, (B, T - n, D)."""
        scales = self.begins.index(ids.shape[1])
        total, seen = self.nothing(len(ids), ids.device), []
        for step, some in enumerate(ids.split(self.counts[:scales], dim=1)[:-1]):
            total = total + self.code_steps.part(some, step, self.grid)
            seen.append(self.seen(total, step + 1))
        return torch.cat(seen, dim=1)

    def weights(self, device: torch.device) -> Tensor:
        """Of the tokens' losses, (T,): of all of them, or while ``progressive`` of the scales that are in."""
        scales, over = len(self.grid), self.config.progressive
        share = self.step / over if self.training and self.step < over else 1.0
        come = FIRST + (scales - FIRST) * share
        each = [min(1.0, come - scale) for scale in range(scales) if come > scale]
        weights_l = [weight for weight, n in zip(each, self.counts) for _ in range(n)]
        return torch.tensor(weights_l, device=device)

    def nothing(self, images: int, device: torch.device) -> Tensor:
        """The sum of no scales, (B, D, h, w)."""
        return torch.zeros(images, self.spec.width, *self.grid[-1], device=device)

    def seen(self, total: Tensor, step: int) -> Tensor:
        """A sum (B, D, h, w) as a scale sees it, (B, n, D)."""
        return self.code_steps.seen(total, self.grid[step]).flatten(2).mT

    def first(self, labels: Tensor) -> Tensor:
        """The positions of the first scale, which see the class alone, (B, n, C)."""
        return self.class_embedding(labels)[:, None] + self.start + self.places(0, 1)

    def embed(self, seen: Tensor, step: int) -> Tensor:
        """What scales from ``step`` on see (B, T, D) -> their positions (B, T, C)."""
        end = self.begins.index(self.begins[step] + seen.shape[1])
        with float32(seen):
            return self.code_map(seen.to(self.code_map.weight)) + self.places(step, end)

    def places(self, step: int, end: int) -> Tensor:
        """Embeddings of scales and positions, of the scales ``step`` to ``end``, (1, T, C)."""
        positions = self.positions[:, self.begins[step] : self.begins[end]]
        return self.scale_embedding(self.scales(positions.device, step, end)) + positions

    def scales(self, device: torch.device, step: int, end: int) -> Tensor:
        """Which scale each position is of, (T,), from ``step`` to ``end``."""
        return torch.cat([torch.full((self.counts[i],), i, device=device) for i in range(step, end)])

    def sees(self, device: torch.device) -> Tensor:
        """Who sees whom, bool (L, L): every position its own scale and all coarser ones."""
        scale_l = self.scales(device, 0, len(self.grid))
        return scale_l[:, None] >= scale_l

    def run(
        self,
        x: Tensor,
        classes: Tensor,
        sees: Tensor | None = None,
        start: int = 0,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Positions (B, T, C) from ``start`` on, of embedded classes (B, C) -> float32 logits (B, T, K)."""
        activated = F.silu(classes)
        condition = activated
        if self.condition is not None:
            condition = self.condition(activated).unflatten(-1, (1, 6, -1))
        for layer, block in enumerate(self.blocks):
            x = block(x, condition, sees, cache, layer, start)
        return self.head(x, activated).float()

    def compile_step(self) -> None:
        self.compiled = torch.compile(self.run, dynamic=True)

    def made_as(self, sampling: PartConfig) -> Makes:
        assert isinstance(sampling, VarSampling)
        return "latents" if sampling.more_smooth else "tokens"

    @torch.inference_mode()
    def sample(
        self, labels: Tensor, streams: Streams, sampling: PartConfig, progress: Progress = silent
    ) -> Made:
        """Tokens of images of these labels (B,); of each stream, number i in [0, 1) picks token i.

        Raises ValueError where guidance is asked for and the network knows no null class, VqcliError where
        its logits are not finite.
        """
        assert isinstance(sampling, VarSampling)
        count, guided = len(labels), self.guided(sampling)
        labels = self.both(labels, sampling)
        run, cache, classes = self.compiled or self.run, self.cache(len(labels)), self.class_embedding(labels)
        total, made, finite = self.nothing(count, labels.device), [], Finite(labels.device)
        x = self.first(labels)
        for step, begin in enumerate(self.begins[:-1]):
            logits, ratio = run(x, classes, None, begin, cache), step / (len(self.grid) - 1)
            if guided:
                logits = guide(logits[:count], logits[count:], 1 + sampling.cfg * ratio)
            finite.look(logits)
            ids, part = self.choose(logits, streams, sampling, step)
            total = total + part
            made.append(ids)
            progress.advance(ids.numel())
            if step + 1 < len(self.grid):
                seen = self.seen(total, step + 1)
                x = self.embed(torch.cat([seen, seen]) if guided else seen, step + 1)
        finite.require()
        tokens = Tokens(torch.cat(made, dim=1), self.grid)
        return Latents(total, settled=True) if sampling.more_smooth else tokens

    def cache(self, batch: int) -> KeyValueCache:
        """Empty slots for the positions of a batch."""
        config = self.config
        shape = (batch, config.heads, self.begins[-1], config.width // config.heads)
        return KeyValueCache(config.layers, shape, like=self.code_map.weight)

    def choose(
        self, logits: Tensor, streams: Streams, sampling: VarSampling, step: int
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, n) of a scale with these logits (B, n, K), and what the scale adds, (B, D, h, w).

        The mixture of ``more_smooth`` is a softmax with Gumbel noise, sharper from scale to scale.
        """
        n, codes = logits.shape[1:]
        if not sampling.more_smooth:
            uniforms = drawn((stream.random(n, dtype=np.float32) for stream in streams), logits)
            ids = draw(logits.flatten(0, 1), uniforms.flatten(), sampling).view(-1, n)
            return ids, self.code_steps.part(ids, step, self.grid)
        ratio = step / (len(self.grid) - 1)
        allowed = filtered(logits.flatten(0, 1), sampling).view_as(logits) * (1 + ratio)
        noise = drawn((stream.gumbel(size=(n, codes)) for stream in streams), logits)
        mixed = ((allowed + noise) / max(0.27 * (1 - 0.95 * ratio), 0.005)).softmax(-1)
        return mixed.argmax(-1), self.code_steps.blend(mixed, step, self.grid)
