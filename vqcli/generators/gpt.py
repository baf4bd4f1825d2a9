"""LlamaGen's GPT: a Llama over the tokens of an image, after its class.

Paper: Sun et al., https://arxiv.org/abs/2406.06525, section 2.2 and table 1; sizes and dropouts as
in the official code. Tokens with several entries in their grid (residual depths, scales) also get an
embedding of their entry; the official networks have one entry and none.
Shape letters: B images, T positions, L tokens an image, E entries of the grid, C width, K codes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from vqcli.config import DEEPEST, MOST_CLASSES, WIDEST, PartConfig
from vqcli.generators.autoregressive import AutoregressiveGenerator, start_small
from vqcli.generators.base import hidden_classes
from vqcli.generators.sampling import SamplingConfig
from vqcli.nn.attention import KeyValueCache
from vqcli.nn.drop_path import rising
from vqcli.nn.linear import Linear
from vqcli.nn.llama import Dropouts, LlamaBlock, RmsNorm
from vqcli.nn.precision import float32
from vqcli.nn.rotary import rotary_table
from vqcli.types import TokenizerSpec


def _size(layers: int, heads: int, width: int) -> dict[str, Any]:
    return {"layers": layers, "heads": heads, "width": width}


class GptConfig(PartConfig):
    """Shape and dropouts of a GPT; vocabulary and length are the tokenizer's."""

    name: Literal["gpt"] = "gpt"
    classes: int = Field(1000, ge=1, le=MOST_CLASSES)
    layers: int = Field(12, ge=1, le=DEEPEST)
    heads: int = Field(12, ge=1, le=WIDEST)
    width: int = Field(768, ge=4, le=WIDEST)
    ffn_multiple: int = Field(256, ge=1, le=WIDEST)
    """Hidden units are 8/3 of the width, rounded up to a multiple of this."""
    rope_base: float = Field(10_000.0, gt=1)
    """Longest wavelength of the rotary embedding, over 2 pi."""
    token_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the embeddings' numbers, the class's too, that are zeroed in training."""
    residual_dropout: float = Field(0.1, ge=0, lt=1)
    """The same after attention."""
    ffn_dropout: float = Field(0.1, ge=0, lt=1)
    """The same after the feed-forward network."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """The same of attention's weights."""
    class_dropout: float = Field(0.1, ge=0, le=1)
    """Share of training images whose class is hidden: what makes guidance possible."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Share of branches left out in the last block; rising linearly from 0 in the first. The official script
    sets ``residual_dropout`` and ``ffn_dropout`` to 0 with it."""
    sampling: SamplingConfig = SamplingConfig()
    """Defaults of ``vqcli generate``."""

    DIAL: ClassVar[str] = "size"
    SIZES: ClassVar[dict[str, dict[str, Any]]] = {
        "B": _size(12, 12, 768),
        "L": _size(24, 16, 1024),
        "XL": _size(36, 20, 1280),
        "XXL": _size(48, 24, 1536),
        "XXXL": _size(48, 40, 2560),
        "1B": _size(22, 32, 2048),
        "3B": _size(24, 32, 3200),
        "7B": _size(32, 32, 4096),
    }

    @property
    def hidden(self) -> int:
        """Units of the feed-forward network."""
        return -(-int(2 * (4 * self.width) / 3) // self.ffn_multiple) * self.ffn_multiple

    @model_validator(mode="after")
    def heads_fit(self) -> GptConfig:
        """Every head has pairs of numbers for rows and for columns."""
        if self.width % (4 * self.heads):
            raise ValueError(f"width must be a multiple of 4 x heads = {4 * self.heads}, not {self.width}")
        return self

    @model_validator(mode="after")
    def guidance_is_learned(self) -> GptConfig:
        """Who is never trained without a class cannot be guided by it."""
        if self.sampling.cfg > 1 and not self.class_dropout:
            raise ValueError("sampling.cfg above 1 needs a class_dropout above 0")
        return self


class Gpt(AutoregressiveGenerator):
    """Llama with 2-D rotary positions over an image's tokens, LlamaGen's; sizes B to 7B."""

    Config: ClassVar[type[PartConfig]] = GptConfig
    TINY: ClassVar[dict[str, Any]] = {
        "classes": 4, "layers": 2, "heads": 2, "width": 16, "ffn_multiple": 8, "drop_path": 0.1
    }  # fmt: skip
    config: GptConfig

    def __init__(self, config: GptConfig, spec: TokenizerSpec) -> None:
        super().__init__(config, spec)
        self.null_class = config.classes if config.class_dropout else None
        width, entries = config.width, len(self.grid)
        self.class_embedding = nn.Embedding(config.classes + 1, width)
        self.token_embedding = nn.Embedding(spec.codebook_size, width)
        self.entry_embedding = nn.Embedding(entries, width) if entries > 1 else None
        self.token_dropout = nn.Dropout(config.token_dropout)
        self.blocks = nn.ModuleList(
            LlamaBlock(width, config.heads, config.hidden, self._dropouts(i)) for i in range(config.layers)
        )
        self.norm = RmsNorm(width)
        self.head = Linear(width, spec.codebook_size, bias=False)
        self.tables: dict[torch.device, Tensor] = {}
        self.apply(start_small)
        nn.init.zeros_(self.head.weight)

    def _dropouts(self, layer: int) -> Dropouts:
        config = self.config
        path = rising(config.drop_path, layer, config.layers)
        return Dropouts(config.attention_dropout, config.residual_dropout, config.ffn_dropout, path)

    def embed_labels(self, labels: Tensor) -> Tensor:
        if self.training:
            labels = hidden_classes(labels, self.config.class_dropout, self.config.classes)
        return self.class_embedding(labels)[:, None]

    def embed_tokens(self, ids: Tensor, start: int) -> Tensor:
        x = self.token_embedding(ids)
        if self.entry_embedding is None:
            return x
        entry_l = torch.cat([torch.full((h * w,), i) for i, (h, w) in enumerate(self.grid)])
        entries_t = entry_l[start - 1 : start - 1 + ids.shape[1]].to(ids.device)
        return x + self.entry_embedding(entries_t)

    def run(self, x: Tensor, start: int = 0, cache: KeyValueCache | None = None) -> Tensor:
        x, table = self.token_dropout(x), self.table(x.device)[start : start + x.shape[1]]
        for layer, block in enumerate(self.blocks):
            x = block(x, table, cache, layer, start)
        return self.head(self.norm(x)).float()

    def table(self, device: torch.device) -> Tensor:
        """Rotary angles of every position, float32 whatever the weights are; made once for a device."""
        if device not in self.tables:
            config = self.config
            with torch.inference_mode(False), float32(self.head.weight):
                made = rotary_table(self.grid, config.width // config.heads, config.rope_base, device)
            self.tables[device] = made
        return self.tables[device]
