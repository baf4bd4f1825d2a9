"""What importers of generators share.

Codes and widths are read from shapes. Neither keys nor shapes tell how many heads share a width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from vqcli.errors import VqcliError
from vqcli.importers.base import Importer, State, count
from vqcli.importers.options import ImportOptions
from vqcli.types import TokenizerSpec

HEAD = 64
"""Usual width of a head."""


class GeneratorImporter(Importer):
    """Converts a published generator of tokens."""

    KIND = "generator"
    OPTIONS = frozenset({"heads", "tokenizer"})
    HEADS: ClassVar[Mapping[tuple[int, int], int]] = {}
    """As published, by layers and width."""
    INSIDE: ClassVar[str] = ""
    """What the keys of a tokenizer in the same file start with; empty where there is none."""
    TOKENIZER: ClassVar[str] = ""
    """The importer of that."""

    def convert(self, weights: State, options: ImportOptions, spec: TokenizerSpec) -> dict[str, Any]:
        """The generator's configuration, from weights in our names. Raises VqcliError."""
        layers, width = count(weights, r"blocks\."), self.shape(weights, "head.weight", 2)[1]
        heads = options.heads or self.HEADS.get((layers, width))
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

    def length(self, weights: State) -> int | None:
        """Tokens of an image; None where no key tells. Raises VqcliError."""
        return None
