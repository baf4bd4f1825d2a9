"""What generators share that make an image token by token, after its class.

Shape letters: B images, T positions, L tokens an image, C width, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqcli.config import PartConfig
from vqcli.generators.base import Generator, Streams, drawn
from vqcli.generators.sampling import Finite, SamplingConfig, draw, guide
from vqcli.nn.attention import KeyValueCache
from vqcli.types import Made, Makes, Progress, TokenizerSpec, Tokens, grid_length, silent


class AutoregressiveGenerator(Generator):
    """Position 0 is the class, position i token i - 1; position i predicts token i."""

    makes: ClassVar[Makes] = "tokens"
    LOSSES: ClassVar[tuple[str, ...]] = ("cross_entropy",)

    head: nn.Linear

    def __init__(self, config: Any, spec: TokenizerSpec) -> None:
        super().__init__(config, spec)
        self.length = grid_length(self.grid)
        """Tokens of an image."""
        self.compiled: Callable[[Tensor, int, KeyValueCache], Tensor] | None = None

    @abstractmethod
    def embed_labels(self, labels: Tensor) -> Tensor:
        """Labels (B,) -> position 0, (B, 1, C)."""

    @abstractmethod
    def embed_tokens(self, ids: Tensor, start: int) -> Tensor:
        """Tokens (B, T) -> positions ``start`` to ``start + T``, (B, T, C)."""

    @abstractmethod
    def run(self, x: Tensor, start: int = 0, cache: KeyValueCache | None = None) -> Tensor:
        """Positions (B, T, C) from ``start`` on -> float32 logits (B, T, K) of the tokens after them."""

    def cache(self, batch: int) -> KeyValueCache:
        """Empty slots for the sequences of a batch."""
        config = self.config
        shape = (batch, config.heads, self.length, config.width // config.heads)
        return KeyValueCache(config.layers, shape, like=self.head.weight)

    def logits(self, labels: Tensor, ids: Tensor) -> Tensor:
        """Teacher-forced logits (B, T + 1, K) of the tokens after the class and after each of ids (B, T)."""
        return self.run(torch.cat([self.embed_labels(labels), self.embed_tokens(ids, 1)], dim=1))

    def forward(self, made: Made, labels: Tensor) -> dict[str, Tensor]:
        assert isinstance(made, Tokens)
        ids = made.ids
        logits = self.logits(labels, ids[:, :-1])
        return {"cross_entropy": F.cross_entropy(logits.flatten(0, 1), ids.flatten())}

    @torch.inference_mode()
    def sample(
        self, labels: Tensor, streams: Streams, sampling: PartConfig, progress: Progress = silent
    ) -> Tokens:
        """Tokens of images of these labels (B,); of each stream, number i in [0, 1) picks token i.

        Raises ValueError where guidance is asked for and the network knows no null class, VqcliError where
        its logits are not finite.
        """
        assert isinstance(sampling, SamplingConfig)
        count, guided = len(labels), self.guided(sampling)
        uniforms_bl = drawn((stream.random(self.length, dtype=np.float32) for stream in streams), labels)
        labels = self.both(labels, sampling)
        step, cache, ids = self.compiled or self.run, self.cache(len(labels)), []
        finite = Finite(labels.device)
        x = self.embed_labels(labels)
        for position in range(self.length):
            if guided and 0 <= sampling.cfg_interval < position - 1:
                guided, x = False, x[:count]
                cache.keep(count)
            logits = step(x, position, cache)[:, -1]
            if guided:
                logits = guide(logits[:count], logits[count:], sampling.cfg)
            finite.look(logits)
            ids.append(draw(logits, uniforms_bl[:, position], sampling))
            progress.advance(count)
            if position + 1 < self.length:
                latest = ids[-1][:, None]
                x = self.embed_tokens(torch.cat([latest, latest]) if guided else latest, position + 1)
        finite.require()
        return Tokens(torch.stack(ids, dim=1), self.grid)

    def compile_step(self) -> None:
        self.compiled = torch.compile(self.run, dynamic=True)


def start_small(module: nn.Module) -> None:
    """Weights of maps and embeddings from N(0, 0.02^2), biases 0: GPT-2's start."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
