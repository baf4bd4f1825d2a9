"""A vision transformer on the tokens of an image, with the training that MAE's networks are fine-tuned by.

Papers: Dosovitskiy et al., "ViT", https://arxiv.org/abs/2010.11929; He et al., "MAE",
https://arxiv.org/abs/2111.06377, table 9. Where a ViT cuts patches out of pixels, this one takes tokens.
Shape letters: B images, L tokens an image, T positions, E entries of the grid, C width, K codes, D code
width, h, w sides of latents.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli.classifiers.base import Classifier, HasCodes
from vqcli.classifiers.mixing import mixed, mixed_cross_entropy, mixing_share
from vqcli.config import DEEPEST, MOST_CLASSES, WIDEST, PartConfig
from vqcli.nn.drop_path import rising
from vqcli.nn.precision import float32
from vqcli.nn.sincos import sincos_table
from vqcli.nn.vit import EPS, VitBlock, VitDropouts
from vqcli.types import Grid, TokenizerSpec, Tokens

SMALL = 0.02
"""Deviation of what starts small."""


def _size(layers: int, heads: int, width: int) -> dict[str, Any]:
    return {"layers": layers, "heads": heads, "width": width}


class VitConfig(PartConfig):
    """Shape and training of a ViT; tokens and their layout are the tokenizer's."""

    name: Literal["vit"] = "vit"
    classes: int = Field(1000, ge=1, le=MOST_CLASSES)
    layers: int = Field(12, ge=1, le=DEEPEST)
    heads: int = Field(12, ge=1, le=WIDEST)
    width: int = Field(768, ge=4, le=WIDEST)
    ffn_ratio: float = Field(4.0, gt=0, le=64)
    """Hidden units of the feed-forward network over the width."""
    embedding: Literal["codes", "learned"] = "codes"
    """``codes``: the tokenizer's, frozen, through a linear map; those of several depths or scales are summed
    as the quantizer sums them, so that positions are those of the latents. ``learned``: a vector for each
    code, and each token, of every depth and scale, has a position of its own."""
    position_base: float = Field(10_000.0, gt=1)
    """Longest wavelength of the positions' sines and cosines, over 2 pi."""
    pool: Literal["mean", "token"] = "mean"
    """What the head sees: the mean of all positions, as MAE fine-tunes, or a class token."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the numbers of embeddings and of all branches that are zeroed in training."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """The same of attention's weights."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """Share of branches left out in the last block; rising linearly from 0 in the first."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the target that is spread over all classes, in training."""
    mixup: float = Field(0.8, ge=0, le=64)
    """Both parameters of the Beta distribution of how much of an image is its own, in training, where each
    batch's embedded images are mixed with another's; 0 mixes none."""

    DIAL: ClassVar[str] = "size"
    SIZES: ClassVar[dict[str, dict[str, Any]]] = {
        "S": _size(12, 6, 384),
        "B": _size(12, 12, 768),
        "L": _size(24, 16, 1024),
    }

    @model_validator(mode="after")
    def width_fits(self) -> VitConfig:
        """Heads share the width, and positions have sines and cosines of rows and of columns."""
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width must be a multiple of 4 and of heads = {self.heads}, not {self.width}")
        return self


class Vit(Classifier):
    """Vision transformer over an image's tokens, of sizes S, B and L."""

    Config: ClassVar[type[PartConfig]] = VitConfig
    TINY: ClassVar[dict[str, Any]] = {
        "classes": 4, "layers": 2, "heads": 2, "width": 16, "dropout": 0.1, "attention_dropout": 0.1
    }  # fmt: skip
    UNDECAYED: ClassVar[tuple[str, ...]] = ("class_token",)
    config: VitConfig
    scale: Tensor
    """What codes are divided by, a scalar: set by ``attach``."""

    def __init__(self, config: VitConfig, spec: TokenizerSpec) -> None:
        super().__init__(config, spec)
        width, hidden, entries = config.width, round(config.width * config.ffn_ratio), len(self.grid)
        self.by_codes = config.embedding == "codes"
        self.NEEDS = ("codes",) if self.by_codes else ()
        self.embedding = (
            nn.Linear(spec.width, width) if self.by_codes else nn.Embedding(spec.codebook_size, width)
        )
        several = entries > 1 and not self.by_codes
        self.entry_embedding = nn.Embedding(entries, width) if several else None
        self.class_token = nn.Parameter(torch.zeros(1, 1, width)) if config.pool == "token" else None
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            VitBlock(width, config.heads, hidden, self._dropouts(i)) for i in range(config.layers)
        )
        self.norm, self.head = nn.LayerNorm(width, eps=EPS), nn.Linear(width, config.classes)
        self.tables: dict[torch.device, Tensor] = {}
        self._begin()

    def _dropouts(self, layer: int) -> VitDropouts:
        config = self.config
        path = rising(config.drop_path, layer, config.layers)
        return VitDropouts(config.attention_dropout, config.dropout, path)

    @torch.no_grad()
    def _begin(self) -> None:
        """As MAE's networks start: Xavier's uniform weights, biases of 0; a small head and class token."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.head.weight, std=SMALL)
        if self.class_token is not None:
            nn.init.normal_(self.class_token, std=SMALL)

    def attach(self, tokenizer: HasCodes) -> None:
        super().attach(tokenizer)
        if self.by_codes:
            self.scale = self.code_steps.codes.square().mean().sqrt().clamp(min=1e-8)

    @property
    def places(self) -> Grid:
        """Layout of what the transformer sees of an image."""
        return self.grid[-1:] if self.by_codes else self.grid

    def layer_of(self, name: str) -> int:
        """0 of the embedding, then a layer a block, then norm and head: as MAE counts them."""
        first, _, rest = name.partition(".")
        if first == "blocks":
            return int(rest.partition(".")[0]) + 1
        return self.config.layers + 1 if first in ("norm", "head") else 0

    def embed(self, tokens: Tokens) -> Tensor:
        """Tokens -> what they are to the transformer, (B, T, C), without positions."""
        if self.by_codes:
            assert isinstance(self.embedding, nn.Linear)
            latents = self.latents(tokens) / self.scale
            return self.embedding(latents.flatten(2).mT.to(self.embedding.weight.dtype))
        x = self.embedding(tokens.ids)
        if self.entry_embedding is None:
            return x
        entry_l = torch.cat([torch.full((h * w,), i) for i, (h, w) in enumerate(self.grid)])
        return x + self.entry_embedding(entry_l.to(x.device))

    @torch.no_grad()
    def latents(self, tokens: Tokens) -> Tensor:
        """The sum of all codes of tokens, (B, D, h, w), float32: what the decoder would see."""
        total: Tensor | float = 0.0
        with float32(tokens.ids):
            for step, ids in enumerate(tokens.ids.split([h * w for h, w in self.grid], dim=1)):
                total = total + self.code_steps.part(ids, step, self.grid)
        assert isinstance(total, Tensor)
        return total

    def table(self, device: torch.device) -> Tensor:
        """Positions (T, C), float32 whatever the weights are; made once for a device."""
        if device not in self.tables:
            with torch.inference_mode(False):
                self.tables[device] = sincos_table(
                    self.places, self.config.width, self.config.position_base, device
                )
        return self.tables[device]

    def run(self, x: Tensor) -> Tensor:
        """Embedded images (B, T, C) -> float32 logits (B, classes)."""
        x = x + self.table(x.device).to(x.dtype)
        if self.class_token is not None:
            x = torch.cat([self.class_token.to(x.dtype).expand(len(x), -1, -1), x], dim=1)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        pooled = x.mean(1) if self.class_token is None else x[:, 0]
        return self.head(self.norm(pooled)).float()

    def logits(self, tokens: Tokens) -> Tensor:
        return self.run(self.embed(tokens))

    def forward(self, tokens: Tokens, labels: Tensor) -> dict[str, Tensor]:
        config, x, share, smoothing = self.config, self.embed(tokens), 1.0, 0.0
        if self.training:
            smoothing = config.label_smoothing
            share = mixing_share(config.mixup) if config.mixup else 1.0
            x = mixed(x, share) if share < 1 else x
        return {"cross_entropy": mixed_cross_entropy(self.run(x), labels, share, smoothing)}
