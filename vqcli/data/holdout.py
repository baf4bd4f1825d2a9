"""Images kept away from training, chosen by key: an image does not change sides when others are added."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np


class Keyed(Protocol):
    """Images by index, of which the names are enough: a source, or the rows of a tokens file."""

    def __len__(self) -> int: ...

    def key(self, i: int) -> str:
        """Unique name of image ``i``."""


def holdout(source: Keyed, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices (int64) to train on and to hold out.

    With a fraction above 0 there is at least one of each, where there are two images.
    """
    hashes = np.fromiter((_hash(source.key(i)) for i in range(len(source))), np.uint64, len(source))
    held = hashes.astype(np.float64) < fraction * 2.0**64
    if fraction > 0 and len(source) > 1:
        held[hashes.argmin()], held[hashes.argmax()] = True, False
    return np.flatnonzero(~held), np.flatnonzero(held)


def _hash(key: str) -> int:
    data = key.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
