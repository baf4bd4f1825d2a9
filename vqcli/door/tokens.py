"""Tokens as Python programs hold them: results of a model, files on the disk, plain arrays. No torch here.

Shape letters: N images, L tokens an image, h, w sides of the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vqcli.data.tokens.files import TokensFile, TokensFolder, open_tokens
from vqcli.data.tokens.store import offsets, read_shard, token_type
from vqcli.door.results import GeneratedPictures, ImageTokens
from vqcli.types import Grid, grid_length

if TYPE_CHECKING:
    from torch import Tensor

    from vqcli.door.dataset import TokenDataset


@dataclass(frozen=True, eq=False)
class TokenSet:
    """Tokens on the disk, row by row as they were written."""

    path: Path
    ids: np.ndarray
    """(N, h, w) or (N, L): through a memory map of ``NAME.npy``, in memory of a folder of shards. Where
    images have grids of their own, (T,): one after the other, as ``offsets`` tells."""
    labels: np.ndarray
    """int64 (N,), -1 where unknown."""
    keys: list[str]
    """A name for each row."""
    grid: Grid | None
    """Layout of the tokens of an image; None where the file does not tell it."""
    codebook_size: int | None
    """None where the file does not tell it."""
    fingerprint: str
    """Of the tokenizer that made them; empty where nobody wrote it down."""
    classes: tuple[str, ...]
    """Name of every label; empty where nobody told them."""
    extras: list[dict[str, Any]]
    """What was kept of each row's image, such as its caption; empty dicts where nothing was."""
    grids: list[Grid] | None = None
    """Layout of every row, where they differ."""
    offsets: np.ndarray | None = None
    """int64 (N + 1,): row ``i`` is ``ids[offsets[i]:offsets[i + 1]]``, where grids differ."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> np.ndarray:
        """Tokens of row ``i``: (h, w), or (L,) of several scales or depths."""
        if self.grids is None or self.offsets is None:
            return self.ids[i]
        i = range(len(self))[i]
        row = self.ids[self.offsets[i] : self.offsets[i + 1]]
        return row.reshape(self.grids[i][0]) if len(self.grids[i]) == 1 else row

    def __reduce__(self) -> tuple[Callable[[Path], TokenSet], tuple[Path]]:
        return read_tokens, (self.path,)  # another process maps the file itself

    def dataset(self) -> TokenDataset:
        """The rows for a ``torch.utils.data.DataLoader``: (ids int64 (L,), label)."""
        from vqcli.door.dataset import TokenDataset

        return TokenDataset(self)


TokensLike: TypeAlias = "ImageTokens | GeneratedPictures | TokenSet | np.ndarray | Tensor"
"""What tokens may be given as: what a model made, what lies on the disk, or integers (N, h, w) or (N, L)."""


@dataclass(frozen=True)
class Given:
    """Tokens in one form, whatever they were given as."""

    ids_nl: np.ndarray
    grid: Grid | None
    codebook_size: int | None = None
    fingerprint: str = ""


def read_tokens(path: str | Path) -> TokenSet:
    """Tokens that ``vqcli encode`` or ``vqcli generate`` wrote: ``NAME.npy``, or a folder of shards.

    The array of a file is not read before it is used, and its hash not checked: ``vqcli.usage`` does both.
    Raises VqcliError where there are none, or they are damaged.
    """
    found = open_tokens(Path(path))
    if isinstance(found, TokensFile):
        return _set(found, found.array, *(list(found.column(name)) for name in ("keys", "labels", "extras")))
    lines: list[dict[str, Any]] = []
    parts = [np.empty(0, token_type(found.info.codebook_size))]
    for shard in range(found.index["shards"]):
        told, tokens = read_shard(found.path, shard)
        lines += [line for line in told if line["status"] == "ok"]
        parts.append(tokens.reshape(-1))
    ids = np.concatenate(parts)
    keys, labels = ([line[name] for line in lines] for name in ("key", "label"))
    extras = [line.get("extras", {}) for line in lines]
    if found.grid:
        ids = as_files_have(ids.reshape(len(lines), -1), found.grid)
        return _set(found, ids, keys, labels, extras)
    grids: list[Grid] = [tuple((h, w) for h, w in line["grid"]) for line in lines]
    ragged = _set(found, ids, keys, labels, extras)
    return replace(ragged, grids=grids, offsets=offsets(map(grid_length, grids)))


def _set(
    found: TokensFile | TokensFolder,
    ids: np.ndarray,
    keys: list[str],
    labels: Sequence[int | None],
    extras: list[dict[str, Any]],
) -> TokenSet:
    info = found.info
    return TokenSet(
        found.path,
        ids,
        np.array([-1 if label is None else label for label in labels], np.int64),
        keys,
        found.grid,
        info.codebook_size if info else None,
        info.fingerprint if info else "",
        info.classes if info else (),
        extras,
    )


def as_files_have(ids_nl: np.ndarray, grid: Grid) -> np.ndarray:
    """Tokens (N, L) as (N, h, w) where the grid has one entry."""
    return ids_nl.reshape(len(ids_nl), *grid[0]) if len(grid) == 1 else ids_nl


def given(tokens: TokensLike, grid: Grid | None = None) -> Given:
    """Tokens of any form. Raises ValueError unless they are integers (N, h, w) or (N, L), and of ``grid``."""
    if isinstance(tokens, ImageTokens | GeneratedPictures):
        if tokens.tokens is None:
            raise ValueError("these images were made of latents: they have no tokens")
        return Given(_flat(tokens.tokens), tokens.grid, tokens.codebook_size, tokens.fingerprint)
    if isinstance(tokens, TokenSet):
        if tokens.offsets is not None:
            raise ValueError("these images have grids of their own: take them one by one, tokens[i]")
        return Given(_flat(tokens.ids), tokens.grid or grid, tokens.codebook_size, tokens.fingerprint)
    array = tokens if isinstance(tokens, np.ndarray) else _array_of(tokens)
    if array.dtype.kind not in "ui" or array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"tokens are integers (N, h, w) or (N, L), not {array.dtype} {array.shape}")
    own: Grid | None = (array.shape[1:],) if array.ndim == 3 else None
    grid = _grid(grid) if grid else own
    if grid and (grid_length(grid) != array[0].size or own not in (None, grid)):
        raise ValueError(f"tokens {array.shape} have not the grid {grid}")
    return Given(_flat(array), grid)


def _grid(told: Any) -> Grid:
    """A grid as a program told it. Raises ValueError where it is none."""
    pairs = told if isinstance(told, list | tuple) else [told]
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs) or not all(
        isinstance(n, int) and n > 0 for pair in pairs for n in pair
    ):
        raise ValueError(f"a grid is ((h, w), ...), coarse to fine, not {told!r}")
    return tuple((h, w) for h, w in pairs)


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1)


def _array_of(tokens: Any) -> np.ndarray:
    """A torch tensor as an array; anything else is refused."""
    if not hasattr(tokens, "detach"):
        form = "a result of encode or generate, of read_tokens, or an integer array or tensor"
        raise ValueError(f"tokens are {form}, not {type(tokens).__name__}")
    if tokens.is_floating_point():
        raise ValueError(f"tokens are integers (N, h, w) or (N, L), not {tokens.dtype}")
    array: np.ndarray = tokens.detach().cpu().numpy()
    return array
