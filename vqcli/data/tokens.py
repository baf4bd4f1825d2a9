"""Token files: one ``.npy`` with a ``.json`` beside it, or a folder of shards. Numpy only.

A shard is ``tokens-00000.jsonl``, a line per input, and ``tokens-00000.safetensors``, their tokens in order.
The latter is written last: it exists = the shard is done.
Shape letters: N images, L tokens an image, h, w sides of the grid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.types import Grid, grid_length

PLAN, INDEX = "plan.json", "index.json"


@dataclass(frozen=True)
class TokensInfo:
    """What tokens are of: written beside them, and needed to turn them back into images."""

    codebook_size: int
    fingerprint: str
    """Of the tokenizer that made them; empty if nobody wrote it down."""
    preprocessing: str
    """How images came to the tokenizer's size."""


@dataclass(frozen=True)
class Row:
    """The tokens (L,) of one image."""

    key: str
    label: int | None
    grid: Grid
    ids: np.ndarray


def token_type(codebook_size: int) -> np.dtype:
    """The smallest unsigned integer type that holds every token."""
    return np.dtype(np.min_scalar_type(codebook_size - 1))


def is_tokens(path: Path) -> bool:
    """Whether a path is a tokens file or folder."""
    return path.suffix == ".npy" or (path / PLAN).is_file()


def shard_files(folder: Path, shard: int) -> tuple[Path, Path]:
    """The lines and the tokens of a shard."""
    return folder / f"tokens-{shard:05d}.jsonl", folder / f"tokens-{shard:05d}.safetensors"


def write_shard(
    folder: Path, shard: int, lines: list[dict[str, Any]], rows: list[np.ndarray], codebook_size: int
) -> None:
    """Write a shard: a line per input, and the tokens of those that were encoded."""
    lines_file, tokens_file = shard_files(folder, shard)
    kind = token_type(codebook_size)
    same = len({len(row) for row in rows}) == 1
    tokens = (np.stack(rows) if same else np.concatenate([np.zeros(0, kind), *rows])).astype(kind)
    files.write_text(lines_file, "".join(json.dumps(line) + "\n" for line in lines))
    files.write_bytes(tokens_file, save({"tokens": tokens}, {"lines_sha256": files.sha256(lines_file)}))


def shard_done(folder: Path, shard: int) -> bool:
    """Whether a shard was written whole."""
    return shard_files(folder, shard)[1].is_file()


def read_lines(folder: Path, shard: int) -> list[dict[str, Any]]:
    """The lines of a shard."""
    path = shard_files(folder, shard)[0]
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as e:
        raise VqcliError(
            f"cannot read {path}: {e}", hint="delete this shard's files and encode again", reason="damaged"
        ) from e


def read_shard(folder: Path, shard: int) -> Iterator[Row]:
    """The encoded rows of a shard."""
    path = shard_files(folder, shard)[1]
    try:
        flat = load_file(path)["tokens"].reshape(-1)
    except (OSError, SafetensorError, KeyError) as e:
        raise VqcliError(
            f"cannot read {path}: {e}", hint="delete this shard's files and encode again", reason="damaged"
        ) from e
    at = 0
    for line in read_lines(folder, shard):
        if line["status"] == "ok":
            grid = tuple((h, w) for h, w in line["grid"])
            ids = flat[at : at + grid_length(grid)]
            at += len(ids)
            yield Row(line["key"], line["label"], grid, ids)
    if at != len(flat):
        raise VqcliError(
            f"{path} holds {len(flat)} tokens, its lines tell of {at}",
            hint="delete this shard's files and encode again",
            reason="damaged",
        )


class TokensFile:
    """An ``.npy`` of tokens, (N, h, w) or (N, L), read through a memory map."""

    def __init__(self, path: Path) -> None:
        try:
            self.array = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as e:
            raise VqcliError(
                f"{path} does not exist", hint="vqcli encode makes one", reason="input-missing"
            ) from e
        except (OSError, ValueError, EOFError) as e:
            raise VqcliError(
                f"{path} is no readable array: {e}", hint="encode again", reason="damaged"
            ) from e
        if self.array.dtype.kind not in "ui" or self.array.ndim not in (2, 3):
            raise VqcliError(
                f"{path} holds {self.array.dtype} {self.array.shape}, not integers (N, h, w) or (N, L)",
                hint="give a file that vqcli encode wrote",
                reason="wrong-kind",
            )
        side = path.with_suffix(".json")
        self.side = files.read_json(side) if side.exists() else {}
        known = [name in self.side for name in ("codebook_size", "fingerprint", "preprocessing")]
        self.info = (
            TokensInfo(*(self.side[n] for n in ("codebook_size", "fingerprint", "preprocessing")))
            if all(known)
            else None
        )
        self.path = path

    def __len__(self) -> int:
        return len(self.array)

    @property
    def grid(self) -> Grid | None:
        """The grid of every row; None where only the file's maker knows."""
        if "grid" in self.side:
            return tuple((h, w) for h, w in self.side["grid"])
        return (self.array.shape[1:],) if self.array.ndim == 3 else None

    def rows(self, grid: Grid | None = None) -> Iterator[Row]:
        """Every row; ``grid`` is needed where the file does not tell it."""
        grid = self.grid or grid
        if grid is None or grid_length(grid) != int(np.prod(self.array.shape[1:])):
            raise VqcliError(
                f"{self.path} does not tell how its {self.array.shape[1:]} tokens lie",
                hint=f"give {self.path.stem}.json, or (N, h, w)",
                reason="grid",
            )
        keys, labels = self.side.get("keys"), self.side.get("labels")
        for i in range(len(self)):
            ids = np.array(self.array[i]).reshape(-1)
            yield Row(keys[i] if keys else f"{i:06d}", labels[i] if labels else None, grid, ids)

    def blocks(self) -> Iterator[np.ndarray]:
        """All tokens, some at a time, (n, L)."""
        for start in range(0, len(self), 4096):
            yield np.array(self.array[start : start + 4096]).reshape(min(4096, len(self) - start), -1)


class TokensFolder:
    """A folder of shards."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan = files.read_json(path / PLAN)
        self.info = TokensInfo(**self.plan["tokens"])
        if not (path / INDEX).is_file():
            raise VqcliError(
                f"{path} is not finished",
                hint="run the same vqcli encode again: it continues",
                reason="unfinished",
            )
        self.index = files.read_json(path / INDEX)
        self.grid: Grid | None = None

    def __len__(self) -> int:
        return self.index["encoded"]

    def rows(self, grid: Grid | None = None) -> Iterator[Row]:
        """Every row, in the order of the inputs."""
        for shard in range(self.index["shards"]):
            yield from read_shard(self.path, shard)

    def blocks(self) -> Iterator[np.ndarray]:
        """All tokens, a row at a time, (1, L)."""
        for row in self.rows():
            yield row.ids[None]


def open_tokens(path: Path) -> TokensFile | TokensFolder:
    """A tokens file or folder. Raises VqcliError if it is neither, or damaged."""
    if path.is_dir():
        return TokensFolder(path)
    return TokensFile(path)


def totals(folder: Path, shards: int) -> dict[str, Any]:
    """Counts over the shards of a finished job, from what is on the disk."""
    encoded, rejected, grids = 0, [], set()
    for shard in range(shards):
        for line in read_lines(folder, shard):
            if line["status"] == "ok":
                encoded += 1
                grids.add(tuple(map(tuple, line["grid"])))
            else:
                rejected.append({"key": line["key"], "reason": line["reason"]})
    grid = [list(side) for side in next(iter(grids))] if len(grids) == 1 else None
    return {"shards": shards, "encoded": encoded, "rejected": rejected, "grid": grid}


def write_index(folder: Path, index: dict[str, Any]) -> None:
    """End a job in the folder form: totals, and the hash of every shard."""
    hashes = {p.name: files.sha256(p) for k in range(index["shards"]) for p in shard_files(folder, k)}
    files.write_json(folder / INDEX, index | {"sha256": hashes})


def assemble(folder: Path, out: Path, info: TokensInfo, index: dict[str, Any]) -> None:
    """End a job in the array form: one ``.npy``, streamed from the shards, and its ``.json``."""
    grid, kind = index["grid"], token_type(info.codebook_size)
    shape = (index["encoded"], *grid[0]) if len(grid) == 1 else (index["encoded"], grid_length(grid))
    digest = hashlib.sha256()
    with files.writing(out) as file:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for row in _rows(folder, index):
            data = row.ids.astype(kind).tobytes()
            digest.update(data)
            file.write(data)
    with files.writing(out.with_suffix(".json")) as file:
        head = asdict(info) | {"grid": grid, "sha256": digest.hexdigest(), "rejected": index["rejected"]}
        file.write(json.dumps({"format": 1} | head, indent=1)[:-2].encode())
        _stream(file, "keys", (row.key for row in _rows(folder, index)))
        _stream(file, "labels", (row.label for row in _rows(folder, index)))
        file.write(b"\n}\n")


def _rows(folder: Path, index: dict[str, Any]) -> Iterator[Row]:
    for shard in range(index["shards"]):
        yield from read_shard(folder, shard)


def _stream(file: Any, name: str, values: Iterable[Any]) -> None:
    """One more list of a JSON object, never held as a whole."""
    file.write(f',\n "{name}": ['.encode())
    for i, value in enumerate(values):
        file.write((", " if i else "").encode() + json.dumps(value).encode())
    file.write(b"]")
