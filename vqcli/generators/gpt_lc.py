"""VQGAN-LC's GPT: minGPT over one vocabulary of codes and classes.

Paper: Zhu et al., "VQGAN-LC", https://arxiv.org/abs/2406.11837, section 4.2. It has no class that stands for
none, so no guidance; sampling here keeps keys and values, the official loop runs every prefix again.
Shape letters: B images, T positions, L tokens an image, C width, K codes, V vocabulary = K + classes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli.config import DEEPEST, MOST_CLASSES, WIDEST, PartConfig
from vqcli.generators.autoregressive import AutoregressiveGenerator, start_small
from vqcli.generators.sampling import SamplingConfig
from vqcli.nn.attention import KeyValueCache
from vqcli.nn.linear import Linear
from vqcli.nn.mingpt import MinGptBlock
from vqcli.types import Made, TokenizerSpec, Tokens


class GptLcConfig(PartConfig):
    """Shape of a GPT-LC; the codes of its vocabulary and its length are the tokenizer's."""

    name: Literal["gpt_lc"] = "gpt_lc"
    classes: int = Field(1000, ge=1, le=MOST_CLASSES)
    layers: int = Field(24, ge=1, le=DEEPEST)
    heads: int = Field(16, ge=1, le=WIDEST)
    width: int = Field(1024, ge=1, le=WIDEST)
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of embeddings, attention and branches, in training."""
    keep: float = Field(0.8, ge=0, le=1)
    """Share of a training image's tokens that the network sees as they are; others are drawn at random."""
    sampling: SamplingConfig = SamplingConfig()
    """Defaults of ``vqcli generate``; ``cfg`` has no effect up to 1 and is refused above."""

    @model_validator(mode="after")
    def heads_fit(self) -> GptLcConfig:
        """Heads share the width."""
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads = {self.heads}, not {self.width}")
        return self


class GptLc(AutoregressiveGenerator):
    """minGPT with learned positions; class c is the word K + c of its vocabulary, VQGAN-LC's."""

    Config: ClassVar[type[PartConfig]] = GptLcConfig
    TINY: ClassVar[dict[str, Any]] = {"classes": 4, "layers": 2, "heads": 2, "width": 16}
    config: GptLcConfig

    def __init__(self, config: GptLcConfig, spec: TokenizerSpec) -> None:
        super().__init__(config, spec)
        self.codes, self.words = spec.codebook_size, spec.codebook_size + config.classes
        self.word_embedding = nn.Embedding(self.words, config.width)
        self.position_embedding = nn.Parameter(torch.zeros(1, self.length + 1, config.width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            MinGptBlock(config.width, config.heads, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = Linear(config.width, self.words, bias=False)
        self.apply(start_small)

    def embed_labels(self, labels: Tensor) -> Tensor:
        return self.word_embedding(labels[:, None] + self.codes)

    def embed_tokens(self, ids: Tensor, start: int) -> Tensor:
        if self.training and self.config.keep < 1:
            kept = torch.rand(ids.shape, device=ids.device) < self.config.keep
            ids = torch.where(kept, ids, torch.randint_like(ids, self.words))
        return self.word_embedding(ids)

    def run(self, x: Tensor, start: int = 0, cache: KeyValueCache | None = None) -> Tensor:
        """Logits of codes alone: no class follows a class or a code."""
        return self.run_words(x, start, cache)[..., : self.codes]

    def run_words(self, x: Tensor, start: int = 0, cache: KeyValueCache | None = None) -> Tensor:
        """Float32 logits (B, T, V) of the whole vocabulary, which training is about."""
        x = self.dropout(x + self.position_embedding[:, start : start + x.shape[1]])
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer, start)
        return self.head(self.norm(x)).float()

    def forward(self, made: Made, labels: Tensor) -> dict[str, Tensor]:
        assert isinstance(made, Tokens)
        ids = made.ids
        x = torch.cat([self.embed_labels(labels), self.embed_tokens(ids[:, :-1], 1)], dim=1)
        return {"cross_entropy": F.cross_entropy(self.run_words(x).flatten(0, 1), ids.flatten())}
