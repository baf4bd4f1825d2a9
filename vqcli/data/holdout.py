"""Images kept away from training, chosen by key: an image does not change sides when others are added."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

SHARE, LEAST, MOST = 0.02, 64, 0.25
"""Share of the images that is held out where nobody says; how many that are at least, so that measuring them
tells something; and the share that this may come to where there are few."""


class Keyed(Protocol):
    """Images by index, of which the names are enough: a source, or the rows of a tokens file."""

    def __len__(self) -> int: ...

    def key(self, i: int) -> str:
        """Unique name of image ``i``."""


def holdout(source: Keyed, fraction: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Indices (int64) to train on and to hold out: the images of the smallest hashes.

    A ``fraction`` is that share of all possible hashes: an image does not change sides when others are added.
    None is ``SHARE`` of them, but at least ``LEAST`` images, or ``MOST`` of those that are there: then images
    that are added may take a held-out one's place, which is trained on from then on; one that was trained on
    is held out only while there are fewer than ``LEAST / MOST``, and more of them are held out.
    Above 0 there is at least one of each, where there are two images.
    """
    hashes = np.fromiter((_hash(source.key(i)) for i in range(len(source))), np.uint64, len(source))
    held = hashes.astype(np.float64) < (SHARE if fraction is None else fraction) * 2.0**64
    least = min(LEAST, int(MOST * len(source)))
    if fraction is None and held.sum() < least:
        held[hashes.argsort(kind="stable")[:least]] = True
    if fraction != 0 and len(source) > 1:
        held[hashes.argmin()], held[hashes.argmax()] = True, False
    return np.flatnonzero(~held), np.flatnonzero(held)


def _hash(key: str) -> int:
    data = key.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
