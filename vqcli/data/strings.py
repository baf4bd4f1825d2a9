"""Names of millions of images, in two arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice, pairwise
from typing import overload

BLOCK = 4096
"""Strings that are put in, or taken out, together."""


class Names(Sequence[str]):
    """A list of strings without an object an item: forked workers copy no memory."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.text, self.ends = bytearray(), array("q", [0])
        rest = iter(names)
        while some := list(islice(rest, BLOCK)):
            self.extend(some)

    def extend(self, names: Sequence[str]) -> None:
        """Add strings at the end."""
        text, lengths = "".join(names), map(len, names)
        if text.isascii():
            self.text += text.encode()
        else:
            encoded = [_bytes(name) for name in names]
            self.text += b"".join(encoded)
            lengths = map(len, encoded)
        self.ends.extend(islice(accumulate(lengths, initial=self.ends[-1]), 1, None))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        return _text(self.text[self.ends[i] : self.ends[i + 1]])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK):
            ends = self.ends[start : start + BLOCK + 1]
            block = self.text[ends[0] : ends[-1]]
            if block.isascii():
                text, first = block.decode(), ends[0]
                yield from [text[a - first : b - first] for a, b in pairwise(ends)]
            else:
                yield from [_text(self.text[a:b]) for a, b in pairwise(ends)]


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _text(name: bytes | bytearray) -> str:
    return name.decode("utf-8", "surrogateescape")
