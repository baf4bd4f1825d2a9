"""What tokens, or latents, that were encoded tell of themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqcli import files
from vqcli.checkpoint.told import Row, classes
from vqcli.data.classes import readable
from vqcli.data.tokens.files import TokensFile
from vqcli.data.tokens.latents import LatentsInfo
from vqcli.data.tokens.lines import parse_lines
from vqcli.data.tokens.store import AGAIN, Of, TokensInfo, read_index, read_info, shard_files
from vqcli.errors import VqcliError
from vqcli.types import Grid


@dataclass(frozen=True)
class EncodedInfo:
    """Tokens or latents in numbers."""

    path: Path
    kind: Of
    images: int
    views: int
    """Rows of an image."""
    grid: Grid | None
    """Of every image, coarse to fine; None where they differ, or nobody tells."""
    codebook_size: int | None
    """None of latents, and where nobody tells."""
    width: int | None
    """Of latents."""
    dtype: str
    """Number format."""
    fingerprint: str
    """Of the tokenizer; empty where nobody tells."""
    preprocessing: str
    """How images came to their size; empty where nobody tells."""
    classes: dict[str, int]
    """Images of each class, by its name or else its number."""
    unlabelled: int
    """Images without a class."""
    extras: dict[str, int]
    """Fields that were kept with them, and how many images have each."""
    rejected: int
    """Inputs that could not be used."""
    bytes: int
    length: int | None = None
    """Tokens of every row of a bare array, where nobody tells how they lie."""

    def rows(self) -> list[Row]:
        """What a table for people says, line by line."""
        views = f" in {self.views} views" if self.views > 1 else ""
        layout = (
            " + ".join(f"{h}x{w}" for h, w in self.grid)
            if self.grid
            else str(self.length or "differently many")
        )
        size = f"of width {self.width}" if self.width else f"of {self.codebook_size or 0:,} codes"
        each = (
            f"{layout} {self.kind} {'of unknown codes' if not (self.width or self.codebook_size) else size}"
        )
        return [
            (self.kind, self.path),
            ("images", f"{self.images:,}{views}, {each}"),
            ("form", f"{self.dtype}, {self.bytes / 1e6:,.1f} MB"),
            ("preprocessing", self.preprocessing or "not told"),
            ("fingerprint", f"{self.fingerprint} (of the tokenizer)" if self.fingerprint else "not told"),
            ("classes", classes(self.classes, self.unlabelled)),
            *((f"kept {name}", f"of {count:,} images") for name, count in self.extras.items()),
            *([("rejected", f"{self.rejected:,} inputs")] if self.rejected else []),
        ]

    def listing(self) -> list[Row]:
        """Every class, with its images."""
        return list(self.classes.items())


def describe_tokens(path: Path, of: Of) -> EncodedInfo:
    """What tokens or latents tell; of shards, their lines are read. Raises VqcliError if they are damaged."""
    if not files.is_folder(path):
        return _file(TokensFile(path))
    info: Any = read_info(path, LatentsInfo if of == "latents" else TokensInfo)
    index = read_index(path)
    labels = Counter(line["label"] for line in _lines(path, index["shards"], of))
    grid = index["grid"]
    return EncodedInfo(
        path,
        of,
        index["encoded"] // info.views,
        info.views,
        tuple((h, w) for h, w in grid) if grid else None,
        getattr(info, "codebook_size", None),
        getattr(info, "width", None),
        getattr(info, "dtype", "") or _smallest(info.codebook_size),
        info.fingerprint,
        info.preprocessing,
        *_counted(labels, info.classes, info.views),
        {name: count // info.views for name, count in index.get("extras", {}).items()},
        len(index.get("rejected", [])),
        sum(each.stat().st_size for each in files.children(path) if files.is_file(each)),
    )


def _file(found: TokensFile) -> EncodedInfo:
    side, views = found.side, found.side.get("views", 1)
    kept = {name: sum(name in own for own in found.column("extras")) for name in side.get("keep", [])}
    beside = found.path.with_suffix(".json")
    size = found.path.stat().st_size + (beside.stat().st_size if files.exists(beside) else 0)
    labels = Counter(found.column("labels"))
    return EncodedInfo(
        found.path,
        "tokens",
        len(found) // views,
        views,
        found.grid,
        side.get("codebook_size"),
        None,
        str(found.array.dtype),
        side.get("fingerprint", ""),
        side.get("preprocessing", ""),
        *_counted(labels, side.get("classes", []), views),
        {name: count // views for name, count in kept.items()},
        len(side.get("rejected", [])),
        size,
        None if found.grid else found.array[0].size,
    )


def _lines(folder: Path, shards: int, of: Of) -> Iterator[dict[str, Any]]:
    for k in range(shards):
        path = shard_files(folder, k, of)[0]
        try:
            lines = parse_lines(files.read_bytes(path, files.LISTS), path)
        except ValueError as e:
            raise VqcliError(f"{path} is damaged: {e}", hint=AGAIN, reason="damaged") from e
        yield from (line for line in lines if line["status"] == "ok")


def _counted(labels: Counter[int | None], names: Any, views: int) -> tuple[dict[str, int], int]:
    """Images of every class by name, in the order of numbers, and images without one."""
    told = readable(names)
    known = sorted((label, count) for label, count in labels.items() if label is not None and label >= 0)
    unlabelled = sum(labels.values()) - sum(count for _, count in known)
    by_name = {told[label] if label < len(told) else str(label): n // views for label, n in known}
    return by_name, unlabelled // views


def _smallest(codes: int) -> str:
    from vqcli.data.tokens.store import token_type

    return str(token_type(codes))
