"""At which sizes a tokenizer takes images, and which tokens it can decode."""

from __future__ import annotations

from vqcli.errors import VqcliError
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import Grid, Size


def target_size(size: Size | None, tokenizer: Tokenizer) -> tuple[int, int] | None:
    """(height, width) that images are brought to: as asked, else the model's own; None for ``native``.

    Raises VqcliError where the model cannot work at that size.
    """
    if size == "native":
        return None
    wanted = size or tokenizer.image_size
    if wanted is None:
        raise VqcliError(
            "the model does not tell its image size", hint="give --size 256, HxW or native", reason="size"
        )
    check_size(tokenizer, *wanted)
    return wanted[0], wanted[1]


def check_size(tokenizer: Tokenizer, height: int, width: int) -> None:
    """Raises VqcliError if the tokenizer takes no images of this size."""
    try:
        tokenizer.grid(height, width)
    except ValueError as e:
        own = tokenizer.image_size
        hint = (
            f"--size N, HxW or native; it was trained at {own[0]}x{own[1]}" if own else "give another --size"
        )
        raise VqcliError(f"the model takes no {height}x{width} pixels: {e}", hint=hint, reason="size") from e


def decodable(grid: Grid, tokenizer: Tokenizer) -> bool:
    """Whether tokens of this grid are an image's."""
    h, w = grid[-1]
    try:
        return tokenizer.grid(h * tokenizer.downsample, w * tokenizer.downsample) == grid
    except ValueError:
        return False
