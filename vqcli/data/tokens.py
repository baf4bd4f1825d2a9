"""Token files: one ``.npy`` with a ``.json`` beside it, or a folder of shards. Numpy only.

A shard is ``tokens-00000.jsonl``, a line per input, and ``tokens-00000.safetensors``, their tokens in order.
The latter is written last and seals both: a shard counts only if its number and hashes are as sealed.
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
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.types import Grid, grid_length

FORMAT, PLAN, INDEX = 1, "plan.json", "index.json"
BLOCK = 4096  # images of an array that are looked at together
AGAIN = "run the same vqcli encode again: it continues, and makes damaged shards anew"
OURS = "give a file or folder that vqcli encode wrote"


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
    """Write a shard: a line per input, and the tokens of those that were encoded, (n, L) or one by one."""
    lines_file, tokens_file = shard_files(folder, shard)
    kind = token_type(codebook_size)
    same = len({len(row) for row in rows}) == 1
    tokens = (np.stack(rows) if same else np.concatenate([np.zeros(0, kind), *rows])).astype(kind)
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    files.write_bytes(lines_file, text)
    files.write_bytes(tokens_file, save({"tokens": tokens}, _seal(shard, text, tokens)))


def _seal(shard: int, lines: bytes, tokens: np.ndarray) -> dict[str, str]:
    """One entry alone: safetensors writes several in any order, and shards must have the same bytes."""
    digest = hashlib.sha256(f"{shard} {hashlib.sha256(lines).hexdigest()} ".encode())
    digest.update(np.ascontiguousarray(tokens).data)
    return {"sha256_of_shard_lines_tokens": digest.hexdigest()}


def read_shard(folder: Path, shard: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The lines of a shard and its tokens. Raises VqcliError if it is missing or not as it was written."""
    lines_file, tokens_file = shard_files(folder, shard)
    try:
        text = lines_file.read_bytes()
        with safe_open(tokens_file, "numpy") as file:
            tokens, seal = file.get_tensor("tokens"), file.metadata()
        if seal != _seal(shard, text, tokens):
            raise ValueError("its hashes differ")
        return [json.loads(line) for line in text.splitlines()], tokens
    except (OSError, SafetensorError, ValueError) as e:
        raise VqcliError(f"{tokens_file} is missing or damaged: {e}", hint=AGAIN, reason="damaged") from e


def shard_done(folder: Path, shard: int) -> bool:
    """Whether a shard was written whole, and is still as it was."""
    try:
        return shard_files(folder, shard)[1].is_file() and bool(read_shard(folder, shard))
    except VqcliError:
        return False


def shard_rows(folder: Path, shard: int) -> Iterator[Row]:
    """The encoded rows of a shard."""
    lines, tokens = read_shard(folder, shard)
    flat, at = tokens.reshape(-1), 0
    for line in lines:
        if line["status"] == "ok":
            grid = tuple((h, w) for h, w in line["grid"])
            ids = flat[at : at + grid_length(grid)]
            at += len(ids)
            yield Row(line["key"], line["label"], grid, ids)


def remove_shards(folder: Path) -> None:
    """Delete the results of a job, and nothing else in its folder."""
    for path in (folder / INDEX, *folder.glob("tokens-*.safetensors"), *folder.glob("tokens-*.jsonl")):
        path.unlink(missing_ok=True)


class TokensFile:
    """An ``.npy`` of tokens, (N, h, w) or (N, L), read through a memory map."""

    def __init__(self, path: Path) -> None:
        self.path, self.array = path, _open_array(path)
        self.side = _read_side(path.with_suffix(".json"), len(self.array))
        told = [self.side.get(name) for name in ("codebook_size", "fingerprint", "preprocessing")]
        self.info = None if None in told else TokensInfo(*told)  # type: ignore[arg-type]

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
        shape = self.array.shape[1:]
        if grid is None or grid_length(grid) != int(np.prod(shape)):
            message = f"{self.path} does not tell how its {'x'.join(map(str, shape))} tokens an image lie"
            hint = f'make the array (N, h, w), or write {{"grid": [[h, w]]}} to {self.path.stem}.json'
            raise VqcliError(message, hint=hint, reason="grid")
        keys, labels = self.side.get("keys"), self.side.get("labels")
        return (
            Row(keys[i] if keys else f"{i:06d}", labels[i] if labels else None, grid, ids.reshape(-1))
            for i, ids in enumerate(self.array)
        )

    def blocks(self) -> Iterator[np.ndarray]:
        """All tokens, some at a time, (n, L). Raises VqcliError if they are not what was written."""
        digest = hashlib.sha256()
        for start in range(0, len(self), BLOCK):
            block = np.ascontiguousarray(self.array[start : start + BLOCK])
            digest.update(block.data)
            yield block.reshape(len(block), -1)
        if self.side.get("sha256", digest.hexdigest()) != digest.hexdigest():
            message = f"{self.path} is damaged, or not the array of {self.path.stem}.json: its hash differs"
            raise VqcliError(message, hint="copy both again, or encode again", reason="damaged")


def _open_array(path: Path) -> np.ndarray:
    try:
        with np.errstate(over="raise"):
            array = np.lib.format.open_memmap(path, mode="r")
        if path.stat().st_size != array.offset + array.nbytes:
            raise ValueError("more follows than its header tells of")
    except FileNotFoundError as e:
        raise VqcliError(f"{path} does not exist", hint=OURS, reason="input-missing") from e
    except Exception as e:  # numpy raises half a dozen kinds where a header is none
        said = str(e).partition("\n")[0]
        raise VqcliError(f"{path} is no readable array: {said}", hint=OURS, reason="damaged") from e
    if array.dtype.kind not in "ui" or array.ndim not in (2, 3) or 0 in array.shape:
        message = f"{path} holds {array.dtype} {array.shape}, not integers (N, h, w) or (N, L)"
        raise VqcliError(message, hint=OURS, reason="wrong-kind")
    return array


def _read_side(path: Path, images: int) -> dict[str, Any]:
    """What stands beside an array of ``images``, if anything. Raises VqcliError where it is of another."""
    side = files.read_json(path) if path.exists() else {}
    if isinstance(side, dict) and side.get("format", FORMAT) == FORMAT:
        lists = [side[name] for name in ("keys", "labels") if name in side]
        pairs, size = side.get("grid", [[1, 1]]), side.get("codebook_size", 1)
        if (
            all(isinstance(values, list) and len(values) == images for values in lists)
            and isinstance(pairs, list)
            and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
            and all(type(n) is int and n > 0 for n in (size, *(n for pair in pairs for n in pair)))
        ):
            return side
    message = f"{path} does not describe the {images:,} images of {path.stem}.npy"
    raise VqcliError(message, hint="copy both again, or encode again", reason="damaged")


class TokensFolder:
    """A folder of shards."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / PLAN).is_file():
            message = f"{path} holds no tokens: it has no {PLAN}"
            raise VqcliError(message, hint=OURS, reason="wrong-kind")
        plan = files.read_json(path / PLAN)
        if not isinstance(plan, dict) or plan.get("format") != FORMAT:
            message = f"{path / PLAN} is not of a tokens folder of format {FORMAT}"
            raise VqcliError(message, hint="update vqcli, or encode again", reason="format")
        if not (path / INDEX).is_file():
            raise VqcliError(f"{path} is not finished", hint=AGAIN, reason="unfinished")
        self.info = TokensInfo(**plan["tokens"])
        self.index = files.read_json(path / INDEX)
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


def open_tokens(path: Path) -> TokensFile | TokensFolder:
    """A tokens file or folder. Raises VqcliError if it is neither, or damaged."""
    return TokensFolder(path) if path.is_dir() else TokensFile(path)


def totals(folder: Path, shards: int) -> dict[str, Any]:
    """Counts over the shards of a finished job, from what is on the disk."""
    encoded, rejected, grids = 0, [], set()
    for shard in range(shards):
        for line in read_shard(folder, shard)[0]:
            if line["status"] == "ok":
                encoded += 1
                grids.add(tuple(map(tuple, line["grid"])))
            else:
                rejected.append({"key": line["key"], "reason": line["reason"]})
    grid = [list(side) for side in next(iter(grids))] if len(grids) == 1 else None
    return {"shards": shards, "encoded": encoded, "rejected": rejected, "grid": grid}


def write_index(folder: Path, index: dict[str, Any]) -> None:
    """End a job in the folder form: totals, and the hash of every file."""
    hashes = {p.name: files.sha256(p) for k in range(index["shards"]) for p in shard_files(folder, k)}
    files.write_json(folder / INDEX, index | {"sha256": hashes})


def assemble(folder: Path, out: Path, info: TokensInfo, index: dict[str, Any]) -> None:
    """End a job in the array form: one ``.npy``, streamed from the shards, and its ``.json``.

    The array takes its name last: where it is, the job is done.
    """
    grid, kind = index["grid"], token_type(info.codebook_size)
    shape = (index["encoded"], *grid[0]) if len(grid) == 1 else (index["encoded"], grid_length(grid))
    digest = hashlib.sha256()
    with files.writing(out) as array:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(array, header)
        for row in _rows(folder, index):
            digest.update(row.ids.data)
            array.write(row.ids.data)
        head = {"format": FORMAT} | asdict(info) | {"grid": grid, "sha256": digest.hexdigest()}
        with files.writing(out.with_suffix(".json")) as side:
            side.write(json.dumps(head | {"rejected": index["rejected"]}, indent=1)[:-2].encode())
            _stream(side, "keys", (row.key for row in _rows(folder, index)))
            _stream(side, "labels", (row.label for row in _rows(folder, index)))
            side.write(b"\n}\n")


def _rows(folder: Path, index: dict[str, Any]) -> Iterator[Row]:
    for shard in range(index["shards"]):
        yield from shard_rows(folder, shard)


def _stream(file: Any, name: str, values: Iterable[Any]) -> None:
    """One more list of a JSON object, never held as a whole."""
    file.write(f',\n "{name}": ['.encode())
    for i, value in enumerate(values):
        file.write((", " if i else "").encode() + json.dumps(value).encode())
    file.write(b"]")
