"""Tokens on the disk as torch's loaders want them. Shape letters: L tokens an image."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset


class Rows(Protocol):
    """What a ``TokenSet`` has: the tokens of each row, and labels (N,)."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> np.ndarray: ...

    @property
    def labels(self) -> np.ndarray: ...


class TokenDataset(Dataset[tuple[Tensor, int]]):
    """Rows of a ``TokenSet``: ids int64 (L,) and label, -1 where unknown."""

    def __init__(self, tokens: Rows) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        ids = np.asarray(self.tokens[i]).reshape(-1).astype(np.int64)
        return torch.from_numpy(ids), int(self.tokens.labels[i])
