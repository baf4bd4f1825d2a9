"""How tokens lie on the disk: shards, and the folder or the one ``.npy`` that a job ends with. Numpy only.

A shard is ``tokens-00000.jsonl``, a line per input, and ``tokens-00000.safetensors``, their tokens in order.
The latter is written last and seals both: a shard counts only if its number and hashes are as sealed.
Latents lie in the same way, ``latents`` in the place of ``tokens``.
Shape letters: N rows, L tokens a row, h, w sides of the grid.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from safetensors.numpy import save

from vqcli import files
from vqcli.data.tokens.kinds import PLAN
from vqcli.data.tokens.lines import are_listed, is_pair, parse_lines, tokens_told
from vqcli.errors import VqcliError
from vqcli.refusals import refusal
from vqcli.types import Grid, grid_length

FORMAT, INDEX = 1, "index.json"
OFFSETS = "offsets"
"""In a shard whose rows are of different lengths: where each begins, and where the last one ends."""
Of = Literal["tokens", "latents"]
"""What shards are of."""
AGAIN = "run the same command again: it continues, and makes damaged shards anew"


class _Told(Protocol):
    OF: ClassVar[Of]


Info = TypeVar("Info", bound=_Told)
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class TokensInfo:
    """What tokens are of: written beside them, and needed to turn them back into images."""

    OF: ClassVar[Of] = "tokens"
    codebook_size: Positive
    fingerprint: str
    """Of the tokenizer that made them; empty if nobody wrote it down."""
    preprocessing: str
    """How images came to the tokenizer's size."""
    views: Positive = 1
    """Rows of an image, which follow each other."""
    classes: tuple[str, ...] = ()
    """Name of every label; empty where nobody told them."""
    keep: tuple[str, ...] = ()
    """Fields that are kept of the images that have them."""

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return recorded(self) | {"classes": list(self.classes)}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> TokensInfo:
        """From what ``record`` gave; older files tell neither views nor classes nor what is kept."""
        return cls(
            record["codebook_size"],
            record["fingerprint"],
            record["preprocessing"],
            record.get("views", 1),
            tuple(record.get("classes", ())),
            tuple(record.get("keep", ())),
        )


@dataclass(frozen=True)
class Row:
    """The tokens (L,) of one image, or of one view of it."""

    key: str
    label: int | None
    grid: Grid
    ids: np.ndarray
    extras: Mapping[str, Any] = field(default_factory=dict)
    """What is kept of it: field -> JSON value."""


def recorded(info: Any) -> dict[str, Any]:
    """A description as JSON values; what is kept stands there where anything is."""
    record = asdict(info)
    kept = {"keep": list(record.pop("keep"))}
    return record | kept if info.keep else record


def read_info(folder: Path, kind: type[Info]) -> Info:
    """What ``plan.json`` tells of the shards beside it. Raises VqcliError if it does not."""
    plan = files.read_sealed(folder / PLAN, files.LISTS)
    if plan.get("format") != FORMAT:
        message = f"{folder / PLAN} is not of a {kind.OF} folder of format {FORMAT}"
        raise VqcliError(message, hint="update vqcli, or encode again", reason="format")
    try:
        return TypeAdapter(kind).validate_json(json.dumps(plan.get(kind.OF)), strict=True)
    except ValidationError as e:
        message = f"{folder / PLAN} is damaged: {kind.OF}: {refusal(e)[0]}"
        raise VqcliError(message, hint=AGAIN, reason="damaged") from e


def read_index(folder: Path) -> dict[str, Any]:
    """``index.json`` of a finished folder of shards. Raises VqcliError if it is missing or damaged."""
    path = folder / INDEX
    if not files.is_file(path):
        raise VqcliError(f"{folder} is not finished", hint=AGAIN, reason="unfinished")
    told = files.read_sealed(path, files.LISTS)
    grid, counts = told.get("grid"), [told.get(name) for name in ("shards", "encoded")]
    pairs = grid if isinstance(grid, list) else [] if grid is None and "grid" in told else [None]
    if not (
        all(type(n) is int and 0 < n <= sys.maxsize for n in counts)
        and all(map(is_pair, pairs))
        and are_listed(told)
    ):
        raise VqcliError(
            f"{path} is damaged: it does not tell what was encoded", hint=AGAIN, reason="damaged"
        )
    return told


def token_type(codebook_size: int) -> np.dtype:
    """The smallest unsigned integer type that holds every token."""
    return np.dtype(np.min_scalar_type(codebook_size - 1))


def shard_files(folder: Path, shard: int, of: Of = "tokens") -> tuple[Path, Path]:
    """The lines and the tokens of a shard."""
    return folder / f"{of}-{shard:05d}.jsonl", folder / f"{of}-{shard:05d}.safetensors"


def write_shard(
    folder: Path, shard: int, lines: list[dict[str, Any]], rows: list[np.ndarray], codebook_size: int
) -> None:
    """Write a shard: a line per input, and the tokens of those that were encoded, (n, L) or one by one."""
    kind = token_type(codebook_size)
    same = len({len(row) for row in rows}) == 1
    tokens = (np.stack(rows) if same else np.concatenate([np.zeros(0, kind), *rows])).astype(kind)
    ends = {} if same else {OFFSETS: offsets(len(row) for row in rows)}
    write_array(folder, shard, lines, tokens, beside=ends)


def offsets(lengths: Iterable[int]) -> NDArray[np.int64]:
    """Where each row begins among the tokens of all, and where the last one ends, (n + 1,)."""
    return np.cumsum([0, *lengths], dtype=np.int64)


def write_array(
    folder: Path,
    shard: int,
    lines: list[dict[str, Any]],
    array: np.ndarray,
    of: Of = "tokens",
    beside: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> None:
    """Write a shard: a line per input, the rows of those that were encoded, and what follows from both."""
    lines_file, array_file = shard_files(folder, shard, of)
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    files.write_bytes(lines_file, text)
    files.write_bytes(array_file, save({of: array, **beside}, _seal(shard, text, array, of)))


def _seal(shard: int, lines: bytes, array: np.ndarray, of: Of) -> dict[str, str]:
    """One entry alone: safetensors writes several in any order, and shards must have the same bytes."""
    digest = hashlib.sha256(f"{shard} {hashlib.sha256(lines).hexdigest()} ".encode())
    digest.update(np.ascontiguousarray(array).data)
    return {f"sha256_of_shard_lines_{of}": digest.hexdigest()}


def read_shard(folder: Path, shard: int, of: Of = "tokens") -> tuple[list[dict[str, Any]], np.ndarray]:
    """The lines of a shard and its rows. Raises VqcliError if it is missing or not as it was written."""
    lines_file, tokens_file = shard_files(folder, shard, of)
    try:
        text = files.read_bytes(lines_file, files.LISTS)
        with files.tensors(tokens_file, "numpy") as file:
            tokens, seal = file.get_tensor(of), file.metadata()
            ends = file.get_tensor(OFFSETS) if OFFSETS in file.keys() else None  # noqa: SIM118 (no mapping)
        if seal != _seal(shard, text, tokens, of):
            raise ValueError("its hashes differ")
        lines = parse_lines(text, lines_file)
        if of == "tokens" and tokens_told(lines) != tokens.size:
            raise ValueError(f"its lines tell of {tokens_told(lines):,} tokens, and it has {tokens.size:,}")
        if ends is not None and not np.array_equal(ends, offsets(map(grid_length, _grids(lines)))):
            raise ValueError("its offsets are not those of its lines")
        return lines, tokens
    except (VqcliError, ValueError) as e:
        if isinstance(e, VqcliError) and e.reason == "os":
            raise
        raise VqcliError(f"{tokens_file} is missing or damaged: {e}", hint=AGAIN, reason="damaged") from e


def _grids(lines: Iterable[Mapping[str, Any]]) -> Iterator[Grid]:
    """The grid of every row."""
    return (tuple((h, w) for h, w in line["grid"]) for line in lines if line["status"] == "ok")


def shard_done(folder: Path, shard: int, of: Of = "tokens") -> bool:
    """Whether a shard was written. Raises VqcliError if it is not as it was."""
    return files.is_file(shard_files(folder, shard, of)[1]) and bool(read_shard(folder, shard, of))


def shard_rows(folder: Path, shard: int) -> Iterator[Row]:
    """The encoded rows of a shard."""
    lines, tokens = read_shard(folder, shard)
    flat, at = tokens.reshape(-1), 0
    for line in lines:
        if line["status"] == "ok":
            grid = tuple((h, w) for h, w in line["grid"])
            ids = flat[at : at + grid_length(grid)]
            at += len(ids)
            yield Row(line["key"], line["label"], grid, ids, line.get("extras", {}))


def remove_shards(folder: Path) -> None:
    """Delete the results of a job, and nothing else in its folder."""
    made = [path for of in ("tokens", "latents") for path in files.children(folder, f"{of}-*")]
    for path in (folder / INDEX, *(path for path in made if path.suffix in (".safetensors", ".jsonl"))):
        path.unlink(missing_ok=True)
