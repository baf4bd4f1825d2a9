"""Tokens, or latents, in shards that end as a folder or one array: what encoding and generating share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vqcli import files
from vqcli.data.images.base import Told
from vqcli.data.tokens import ending, store
from vqcli.data.tokens.latents import LatentsInfo, write_latents
from vqcli.errors import VqcliError
from vqcli.jobs.places import vacant
from vqcli.jobs.plans import Plan
from vqcli.jobs.sharded import Work

NOTHING = Told()
Info = store.TokensInfo | LatentsInfo
"""What is written beside them."""


class Place:
    """Where tokens go: ``NAME.npy``, made of shards in ``NAME.partial``, or the folder of shards itself."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.with_name(f"{out.stem}.partial") if out.suffix == ".npy" else out

    def check(self, *, force: bool) -> None:
        """Raises VqcliError if the place is taken by something that is not a job of ours."""
        out, folder = self.out, self.folder
        if files.is_file(folder / store.PLAN):
            return  # begin() tells whether it is this job
        if files.exists(folder) and not (files.is_folder(folder) and vacant(folder)):
            raise VqcliError(f"{folder} exists and holds no tokens", hint="give another -o", reason="exists")
        for path in (out, out.with_suffix(".json")) if out != folder else ():
            if files.is_folder(path) or (files.exists(path) and not force):
                hint = "give another -o, or --force to replace it"
                raise VqcliError(f"{path} exists already", hint=hint, reason="exists")


def token_plan(info: Info, inputs: dict[str, Any], settings: dict[str, Any]) -> Plan:
    """The plan of a job that makes such tokens or latents."""
    values = {"format": store.FORMAT, info.OF: info.record(), "inputs": inputs, "settings": settings}
    holds = f"{info.OF} of another job"
    return Plan(values, store.remove_shards, holds, unsaid=("format",), otherwise="its format")


class TokenShards(Work[dict[str, Any]]):
    """Shards of tokens or latents; they come to the totals of all."""

    def __init__(self, place: Place, info: Info, shards: int, told: Told = NOTHING) -> None:
        self.place, self.info, self.shards, self.told = place, info, shards, told

    def done(self, k: int) -> bool:
        return store.shard_done(self.place.folder, k, self.info.OF)

    def write(self, k: int, lines: list[dict[str, Any]], rows: list[np.ndarray]) -> None:
        """Commit a shard: a line an input, and tokens (L,) or latents (D, h, w) of those that have any."""
        if isinstance(self.info, LatentsInfo):
            write_latents(self.place.folder, k, lines, rows, self.info)
        else:
            store.write_shard(self.place.folder, k, lines, rows, self.info.codebook_size)

    def finish(self) -> dict[str, Any]:
        """End the job in the form that was asked for. Raises VqcliError if no image could be used."""
        out, folder = self.place.out, self.place.folder
        index = ending.totals(folder, self.shards, self.info)
        if self.told != NOTHING:
            index["told"] = {"left_out": dict(self.told.left_out), "remarks": list(self.told.remarks)}
        if not index["encoded"]:
            reasons = sorted({r["reason"] for r in index["rejected"]})
            raise VqcliError(
                f"none of {len(index['rejected'])} images could be used ({', '.join(reasons)})",
                hint=f"{folder} lists each with its reason",
                reason="input-empty",
            )
        if out == folder:
            ending.write_index(folder, index, self.info.OF)
            return index
        for path in (out, out.with_suffix(".json")):
            files.clean_beside(path)
        assert isinstance(self.info, store.TokensInfo)
        ending.assemble(folder, out, self.info, index)
        files.remove_folder(folder)
        return index
