"""Tokens with new numbers: a tokens file or folder written anew, streamed. Numpy only.

Shape letters: K codes before.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqcli import files
from vqcli.data.tokens import store
from vqcli.data.tokens.ending import write_index
from vqcli.data.tokens.files import LISTS, TokensFile, TokensFolder, read_side
from vqcli.types import Progress

MANY = 4096
"""Values of a long list that are held together."""


@dataclass(frozen=True)
class Renumbering:
    """New tokens for old ones."""

    new_k: NDArray[np.unsignedinteger]
    """By old token, in the smallest type; anything where an old one is never used."""
    codebook_size: int
    """Of the new tokens."""
    fingerprint: str
    """Of the tokenizer they are tokens of."""


def pruned_path(found: TokensFile | TokensFolder) -> Path:
    """Where new tokens lie: ``NAME-pruned.npy``, or ``NAME-pruned/``, beside the old ones."""
    if isinstance(found, TokensFolder):
        return Path(f"{found.path}-pruned")
    return found.path.with_name(f"{found.path.stem}-pruned.npy")


def check_place(found: TokensFile | TokensFolder) -> None:
    """Raises VqcliError if something else than tokens is where the new ones go."""
    path = pruned_path(found)
    if isinstance(found, TokensFolder):
        files.check_free(path, ours=files.is_file(path / store.PLAN), force=True)
    else:
        for part in (path, path.with_suffix(".json")):
            files.check_free(part, ours=files.is_file(part), force=True)


def renumber(
    found: TokensFile | TokensFolder,
    out: Path,
    new: Renumbering,
    pending: ExitStack,
    progress: Progress,
    *,
    force: bool = False,
) -> None:
    """Write tokens anew; they take their name, whole, when ``pending`` is closed well.

    Raises VqcliError if others are there, unless ``force``; the same ones are what a killed command has left.
    """
    progress.start("renumber", len(found), "images")
    if isinstance(found, TokensFolder):
        folder = pending.enter_context(files.writing_folder(out, listed=False))
        _renumber_folder(found, folder, new, progress)
        there = not force and files.is_folder(out)
        places, same = [out], there and files.manifest(out) == files.manifest(folder)
    else:
        beside = out.with_suffix(".json")
        files.clean_beside(beside)  # of a killed command; the array's is gone: that is what was claimed
        seal = _renumber_file(found, out, new, pending, progress)
        places = [out, beside]
        same = not force and files.is_file(beside) and files.seal_of(read_side(beside)) == seal
    for place in () if same else places:
        files.check_free(place, ours=True, force=force)


def _renumber_folder(found: TokensFolder, folder: Path, new: Renumbering, progress: Progress) -> None:
    info = replace(found.info, codebook_size=new.codebook_size, fingerprint=new.fingerprint)
    plan = files.read_sealed(found.path / store.PLAN, files.LISTS) | {"tokens": info.record()}
    files.write_sealed(folder / store.PLAN, plan)
    for shard in range(found.index["shards"]):
        lines, _ = store.read_shard(found.path, shard)
        rows = [new.new_k[row.ids] for row in store.shard_rows(found.path, shard)]
        store.write_shard(folder, shard, lines, rows, new.codebook_size)
        progress.advance(len(rows))
    write_index(folder, found.index)


def _renumber_file(
    found: TokensFile, out: Path, new: Renumbering, pending: ExitStack, progress: Progress
) -> str:
    """Returns the seal of what is written beside the array."""
    array = pending.enter_context(files.writing(out))  # entered first, named last: then the pair is whole
    beside = pending.enter_context(files.writing(out.with_suffix(".json")))
    kind, digest = np.lib.format.dtype_to_descr(new.new_k.dtype), hashlib.sha256()
    header = {"descr": kind, "fortran_order": False, "shape": found.array.shape}
    np.lib.format.write_array_header_1_0(array, header)
    for block in found.blocks():
        ids = new.new_k[block]
        digest.update(ids.data)
        array.write(ids.data)
        progress.advance(len(ids))
    side = {"format": store.FORMAT, **found.side, "codebook_size": new.codebook_size}
    if "fingerprint" in side:
        side["fingerprint"] = new.fingerprint
    side["sha256"] = digest.hexdigest()
    lists = {name: pending.enter_context(files.LongList(out.parent)) for name in LISTS if name in side}
    for name, values in lists.items():
        each = iter(side.pop(name))
        while some := list(islice(each, MANY)):
            values.add(some)
    return files.write_lists(beside, side, lists)
