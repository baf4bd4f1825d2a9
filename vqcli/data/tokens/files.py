"""Reading tokens: one ``.npy`` with a ``.json`` beside it, or a folder of shards. Numpy only.

Shape letters: N rows (images, or views of them), L tokens a row, h, w sides of the grid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from vqcli import files
from vqcli.data.tokens.kinds import PLAN, encoded_kind
from vqcli.data.tokens.store import (
    FORMAT,
    Row,
    TokensInfo,
    read_index,
    read_info,
    read_shard,
    shard_rows,
)
from vqcli.errors import VqcliError
from vqcli.types import Grid, grid_length

BLOCK = 1 << 19
"""Bytes of an array that are looked at together, about: they and what is made of them stay in a cache."""
LOADERS = {
    ".npz": "np.load(FILE)['arr_0']",
    ".pt": "torch.load(FILE).numpy()",
    ".pth": "torch.load(FILE).numpy()",
    ".csv": "np.loadtxt(FILE, int, delimiter=',')",
    ".txt": "np.loadtxt(FILE, int)",
}
"""Other forms in which people keep tokens, and what reads an array of them."""
LISTS: dict[str, Callable[[Any], bool]] = {
    "keys": lambda value: isinstance(value, str),
    "labels": lambda value: value is None or (type(value) is int and -1 <= value < 1 << 31),
    "extras": lambda value: isinstance(value, dict),
}
"""What is told of every row beside an array, and what that may be."""
OURS = "give a file or folder that vqcli encode wrote"


class TokensFile:
    """An ``.npy`` of tokens, (N, h, w) or (N, L), read through a memory map."""

    def __init__(self, path: Path) -> None:
        self.path, self.array = path, _open_array(path)
        self.side = _side_of(path.with_suffix(".json"), len(self.array))
        told = [self.side.get(name) for name in ("codebook_size", "fingerprint", "preprocessing")]
        self.info = None if None in told else TokensInfo.read(self.side)

    def __len__(self) -> int:
        return len(self.array)

    @property
    def tells_grid(self) -> bool:
        """Whether the grid stands beside the array, and is not guessed from its shape."""
        return "grid" in self.side

    @property
    def grid(self) -> Grid | None:
        """The grid of every row; None where only the file's maker knows."""
        if self.tells_grid:
            return tuple((h, w) for h, w in self.side["grid"])
        return (self.array.shape[1:],) if self.array.ndim == 3 else None

    def layout(self, grid: Grid | None = None) -> Grid:
        """The grid; ``grid`` where the file does not tell it. Raises VqcliError if neither fits."""
        grid = self.grid or grid
        shape = self.array.shape[1:]
        if grid is None or grid_length(grid) != int(np.prod(shape)):
            message = f"{self.path} does not tell how its {'x'.join(map(str, shape))} tokens an image lie"
            hint = f'make the array (N, h, w), or write {{"grid": [[h, w]]}} to {self.path.stem}.json'
            raise VqcliError(message, hint=hint, reason="grid")
        return grid

    def rows(self, grid: Grid | None = None) -> Iterator[Row]:
        """Every row; ``grid`` is needed where the file does not tell it."""
        grid = self.layout(grid)
        columns = zip(*map(self.column, ("keys", "labels", "extras")))
        return (
            Row(key, label, grid, ids.reshape(-1), extras)
            for (key, label, extras), ids in zip(columns, self.array)
        )

    def column(self, name: str) -> Iterator[Any]:
        """Of every row what ``keys``, ``labels`` or ``extras`` tell; without them a number, None, nothing."""
        if name in self.side:
            return iter(self.side[name])
        if name == "keys":
            return (f"{i:06d}" for i in range(len(self)))
        return repeat(None if name == "labels" else {}, len(self))

    def blocks(self) -> Iterator[np.ndarray]:
        """All tokens, some at a time, (n, L). Raises VqcliError if they are not what was written."""
        told = self.side.get("sha256")
        digest = hashlib.sha256()
        for block in self._read():
            if told is not None:
                digest.update(block.data)
            yield block.reshape(len(block), -1)
        if told is not None and told != digest.hexdigest():
            message = f"{self.path} is damaged, or not the array of {self.path.stem}.json: its hash differs"
            raise VqcliError(message, hint="copy both again, or encode again", reason="damaged")

    def _read(self) -> Iterator[np.ndarray]:
        """The array, some rows at a time, read as a file: a memory map would stay in memory."""
        array = self.array
        rows = max(1, BLOCK * len(array) // array.nbytes)
        if not array.flags.c_contiguous:
            yield from (np.ascontiguousarray(array[at : at + rows]) for at in range(0, len(array), rows))
            return
        with files.open_regular(self.path) as file:
            file.seek(array.offset)
            for at in range(0, len(array), rows):
                block = np.empty((min(rows, len(array) - at), *array.shape[1:]), array.dtype)
                try:
                    got = file.readinto(block.data.cast("B"))
                except OSError as e:
                    raise files.unread(self.path, e) from e
                if got < block.nbytes:
                    message = f"{self.path} was cut while it was read"
                    raise VqcliError(message, hint="copy it again, or encode again", reason="damaged")
                yield block


def _open_array(path: Path) -> np.memmap:
    try:
        files.open_regular(path).close()
        with np.errstate(over="raise"):
            array = files.patiently(lambda: np.lib.format.open_memmap(path, mode="r"))
        if path.stat().st_size != array.offset + array.nbytes:
            raise ValueError("more follows than its header tells of")
    except VqcliError as e:
        raise VqcliError(str(e), hint=e.hint if e.reason == "os" else OURS, reason=e.reason) from e
    except Exception as e:  # numpy raises half a dozen kinds where a header is none
        if told := files.os_error(e):
            raise files.unread(path, told) from e
        if path.suffix in LOADERS:
            message = f"{path} is no .npy, the form of tokens that is read"
            raise VqcliError(message, hint=f"write one: {_as_npy(path)}", reason="wrong-kind") from e
        said = str(e).partition("\n")[0]
        raise VqcliError(f"{path} is no readable array: {said}", hint=OURS, reason="damaged") from e
    if array.dtype.kind not in "ui" or array.ndim not in (2, 3) or 0 in array.shape:
        message = f"{path} holds {array.dtype} {array.shape}, not integers (N, h, w) or (N, L)"
        again = f"; or make each image a row: np.load({str(path)!r}).reshape(-1, h, w)"
        hint = OURS + (again if array.dtype.kind in "ui" and array.size else "")
        raise VqcliError(message, hint=hint, reason="wrong-kind")
    return array


def _as_npy(path: Path) -> str:
    return f"np.save('tokens.npy', {LOADERS[path.suffix].replace('FILE', repr(str(path)))})"


def _no_tokens(folder: Path) -> VqcliError:
    """What else a folder is; one of arrays is as LlamaGen's scripts write it: (1, crops, tokens) each."""
    message, hint = f"{folder} holds no tokens: it has no {PLAN}", OURS
    if arrays := [path for path in files.children(folder, "*.npy") if files.is_file(path)]:
        message += f", but {len(arrays):,} .npy"
        hint = (
            "name one of them; or make rows of one array of all, in an order that you keep: "
            "np.concatenate([a.reshape(-1, a.shape[-1]) for a in map(np.load, files)])"
        )
    return VqcliError(message, hint=hint, reason="wrong-kind")


def read_side(path: Path) -> dict[str, Any]:
    """What stands beside an array, if anything; its ``LISTS`` are unread where they are a value a line.

    Raises VqcliError where it is damaged.
    """
    if not files.exists(path):
        return {}
    if (side := files.read_sealed_lists(path, LISTS)) is not None:
        return side
    data = files.read_bytes(path, files.LISTS)
    side = files.parse_sealed(data, path)
    if b'"seal"' not in data[-90:] and _contradicts(side):
        message = f"{path} was edited or damaged: labels are not the classes that its keys begin with"
        hint = f"copy it again, or encode again; if it is right: vqcli verify --seal {path}"
        raise VqcliError(message, hint=hint, reason="damaged")
    return side


def _side_of(path: Path, rows: int) -> dict[str, Any]:
    """What stands beside an array of ``rows``. Raises VqcliError where it is of another."""
    side = read_side(path)
    if side.get("format", FORMAT) == FORMAT and _fits(side, rows):
        return side
    message = f"{path} does not describe the {rows:,} images of {path.stem}.npy"
    raise VqcliError(message, hint="copy both again, or encode again", reason="damaged")


def _contradicts(side: dict[str, Any]) -> bool:
    """Whether images of folders named after classes have other labels: of older files nothing else tells."""
    names, keys, labels = (side.get(name) for name in ("classes", "keys", "labels"))
    if not (isinstance(names, list) and isinstance(keys, list) and isinstance(labels, list)):
        return False
    folders = [str(key).partition("/")[0] for key in keys]
    known = {str(name): label for label, name in enumerate(names)}
    return set(folders) <= known.keys() and [known[folder] for folder in folders] != labels


def _fits(side: dict[str, Any], rows: int) -> bool:
    """Whether what stands beside an array has the types it should have, and as many of each."""
    each = [side[name] for name in LISTS if name in side]
    kept, pairs, classes = side.get("keep", []), side.get("grid", [[1, 1]]), side.get("classes", [])
    sizes = (side.get("codebook_size", 1), side.get("views", 1))
    texts = [side.get(name, "") for name in ("fingerprint", "preprocessing", "sha256")]
    return (
        all(isinstance(values, list | files.Lines) for values in each)
        and all(isinstance(values, list) for values in (kept, pairs, classes, side.get("rejected", [])))
        and all(len(values) == rows for values in each)
        and all(isinstance(name, str) for name in (*texts, *classes, *kept))
        and all(all(map(LISTS[name], side[name])) for name in LISTS if isinstance(side.get(name), list))
        and bool(pairs)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        and all(type(n) is int and 0 < n < 1 << 31 for n in (*sizes, *(n for pair in pairs for n in pair)))
    )


class TokensFolder:
    """A folder of shards."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not files.is_file(path / PLAN):
            raise _no_tokens(path)
        if encoded_kind(path) == "latents":
            hint = "vqcli train takes them, for a generator of latents"
            raise VqcliError(f"{path} holds latents, not tokens", hint=hint, reason="wrong-kind")
        self.info, self.index = read_info(path, TokensInfo), read_index(path)
        grid = self.index["grid"]
        self.grid: Grid | None = tuple((h, w) for h, w in grid) if grid else None

    def __len__(self) -> int:
        return self.index["encoded"]

    def rows(self, grid: Grid | None = None) -> Iterator[Row]:
        """Every row, in the order of the inputs."""
        for shard in range(self.index["shards"]):
            yield from shard_rows(self.path, shard)

    def blocks(self) -> Iterator[np.ndarray]:
        """All tokens, some at a time, (n, L). Raises VqcliError if a shard is damaged."""
        for shard in range(self.index["shards"]):
            tokens = read_shard(self.path, shard)[1]
            if tokens.ndim == 2:
                yield tokens
            else:
                yield from (row.ids[None] for row in shard_rows(self.path, shard))


def check_range(path: Path, block: np.ndarray, start: int, codebook_size: int, hint: str) -> None:
    """Raises VqcliError for a token of ``block`` (n, L), rows from ``start`` on, that no code has."""
    bad = np.argwhere((block < 0) | (block >= codebook_size))
    if len(bad):
        row, position = bad[0]
        raise VqcliError(
            f"{path} holds token {block[row, position]} (image {start + row}, position {position}), "
            f"the codebook ends at {codebook_size - 1}",
            hint=hint,
            reason="token-range",
        )


def open_tokens(path: Path) -> TokensFile | TokensFolder:
    """A tokens file or folder. Raises VqcliError if it is neither, or damaged."""
    return TokensFolder(path) if files.is_folder(path) else TokensFile(path)
