"""What importers of generators share.

Codes and widths are read from shapes. Neither keys nor shapes tell how many heads share a width.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from vqcli.errors import VqcliError
from vqcli.importers.base import Importer, State, count
from vqcli.importers.options import ImportOptions
from vqcli.types import Grid, TokenizerSpec

HEAD = 64
"""Usual width of a head."""


class GeneratorImporter(Importer):
    """Converts a published generator of tokens."""

    KIND = "generator"
    OPTIONS = frozenset({"heads", "tokenizer"})
    OUTPUT: ClassVar[str] = "head.weight"
    """Our name for a matrix whose second side is the width."""
    HEADS: ClassVar[Mapping[tuple[int, int], int]] = {}
    """As published, by layers and width."""
    INSIDE: ClassVar[str] = ""
    """What the keys of a tokenizer in the same file start with; empty where there is none."""
    TOKENIZER: ClassVar[str] = ""
    """The importer of that."""

    def convert(self, weights: State, options: ImportOptions, spec: TokenizerSpec) -> dict[str, Any]:
        """The generator's configuration, from weights in our names. Raises VqcliError."""
        layers, width = count(weights, r"blocks\."), self.shape(weights, self.OUTPUT, 2)[1]
        told = self.heads(weights)
        if told and options.heads not in (None, told):
            raise VqcliError(f"it has {told} heads", hint="leave --heads out", reason="option")
        heads = told or options.heads or self.HEADS.get((layers, width))
        if not heads and width % HEAD:
            message = f"no key tells how many heads share its width of {width}"
            raise VqcliError(message, hint="give --heads", reason="layout")
        sizes = {"layers": layers, "heads": heads or width // HEAD, "width": width}
        return {"name": self.LAYOUT.network, **sizes, **self.parts(weights, sizes, spec)}

    @abstractmethod
    def parts(self, weights: State, sizes: dict[str, int], spec: TokenizerSpec) -> dict[str, Any]:
        """What else the configuration has, ``classes`` at least. Raises VqcliError."""

    @abstractmethod
    def codes(self, weights: State, options: ImportOptions, known: int | None) -> int:
        """Codes of the tokenizer whose tokens it makes; ``known`` is what that has. Raises VqcliError."""

    def heads(self, weights: State) -> int | None:
        """How many heads share the width; None where no key tells. Raises VqcliError."""
        return None

    def code_width(self, weights: State) -> int:
        """Width of the tokenizer's codes; 0 where no key tells. Raises VqcliError."""
        return 0

    def length(self, weights: State) -> int | None:
        """Tokens of an image; None where no key tells. Raises VqcliError."""
        return None

    def side(self, weights: State) -> int | None:
        """Of a square image, in tokens of its finest layout; None where no key tells. Raises VqcliError."""
        length = self.length(weights)
        return math.isqrt(length) if length else None

    def grid(self, height: int, width: int) -> Grid:
        """Layout of so many tokens, where no tokenizer tells. Raises ValueError if there can be none."""
        return ((height, width),)
