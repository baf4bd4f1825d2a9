"""What is known of one published model: where its file lies, and what it must be."""

from __future__ import annotations

from dataclasses import dataclass

from vqcli.types import Grid

ABOUT = "see the repository"
"""The licence of what does not tell one."""


@dataclass(frozen=True)
class Published:
    """A model on the Hub: a repository, or one file of it."""

    repository: str
    file: str = ""
    """Its path in the repository, or that of its folder; empty where the repository is the model."""
    revision: str = "main"
    """A branch, a tag, or 40 hexadecimal digits of a commit."""
    sha256: str = ""
    """Of the file; empty where it is not known beforehand."""
    bytes: int = 0
    """Of the file; 0 where that is not known exactly."""
    importer: str = ""
    """The part that reads it."""
    kind: str = "tokenizer"
    """Of the model: a row of ``checkpoint.kinds``."""
    codes: int = 0
    """Size of the codebook; 0 of an autoencoder without one."""
    width: int = 256
    """Of a code, and of latents."""
    downsample: int = 16
    """Pixels a token stands for, a side."""
    size: int = 256
    """Pixels a side of its images."""
    scales: tuple[int, ...] = ()
    """Sides of a multi-scale tokenizer's squares of tokens."""
    tokenizer: str = ""
    """The alias of the tokenizer on whose tokens it works. Empty for a tokenizer."""
    system: str = ""
    """Whose method it is: what lists are grouped by."""
    licence: str = ABOUT
    """As its repository, else its authors' code tells."""
    what: str = ""
    """One line."""

    def grid(self, height: int, width: int) -> Grid:
        """Layout of the tokens of a tokenizer's image of this many pixels."""
        sides = (height // self.downsample, width // self.downsample)
        return tuple((side, side) for side in self.scales) or (sides,)
