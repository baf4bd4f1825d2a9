"""How a job of shards ends: what all of them hold, as an index beside them or as one array. Numpy only."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from vqcli import files
from vqcli.data.tokens.store import FORMAT, INDEX, Of, TokensInfo, read_shard, shard_files, token_type
from vqcli.types import grid_length


def totals(folder: Path, shards: int, info: Any) -> dict[str, Any]:
    """Counts over the shards of a finished job, from what is on the disk."""
    encoded, rejected, grids = 0, [], set()
    kept = dict.fromkeys(info.keep, 0)
    for shard in range(shards):
        for line in read_shard(folder, shard, info.OF)[0]:
            if line["status"] == "ok":
                encoded += 1
                grids.add(tuple(map(tuple, line["grid"])))
                for name in line.get("extras", ()):
                    kept[name] += 1
            else:
                rejected.append({name: line[name] for name in ("key", "reason", "detail") if line.get(name)})
    grid = [list(side) for side in next(iter(grids))] if len(grids) == 1 else None
    found = {"shards": shards, "encoded": encoded, "rejected": rejected, "grid": grid}
    return found | {"extras": kept} if kept else found


def write_index(folder: Path, index: dict[str, Any], of: Of = "tokens") -> None:
    """End a job in the folder form: totals, and the hash of every file."""
    hashes = {p.name: files.sha256(p) for k in range(index["shards"]) for p in shard_files(folder, k, of)}
    files.write_sealed(folder / INDEX, index | {"sha256": hashes})


def assemble(folder: Path, out: Path, info: TokensInfo, index: dict[str, Any]) -> None:
    """End a job in the array form: one ``.npy``, streamed from the shards, and its ``.json``.

    The array takes its name last: where it is, the job is done.
    """
    grid, kind = index["grid"], token_type(info.codebook_size)
    shape = (index["encoded"], *grid[0]) if len(grid) == 1 else (index["encoded"], grid_length(grid))
    digest = hashlib.sha256()
    rows = {"keys": "key", "labels": "label"} | ({"extras": "extras"} if info.keep else {})
    with files.writing(out) as array, ExitStack() as opened:
        lists = {name: opened.enter_context(files.LongList(folder)) for name in rows}
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(array, header)
        for shard in range(index["shards"]):
            lines, tokens = read_shard(folder, shard)
            digest.update(tokens.data)
            array.write(tokens.data)
            encoded = [line for line in lines if line["status"] == "ok"]
            for name, key in rows.items():
                lists[name].add([line.get(key, {}) for line in encoded])
        head = {"format": FORMAT} | info.record() | {"grid": grid, "sha256": digest.hexdigest()}
        head |= {name: index[name] for name in ("told",) if name in index}
        head |= {"rejected": index["rejected"]}
        with files.writing(out.with_suffix(".json")) as side:
            files.write_lists(side, head, lists)
