"""Runs in a folder, from their files alone: how far each is, and what was measured. No torch here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from vqcli import files
from vqcli.checkpoint.kinds import KINDS
from vqcli.errors import VqcliError
from vqcli.library.log import logged
from vqcli.library.references import checkpoints, step_of
from vqcli.metrics.usage.record import UsageRecord
from vqcli.yaml_text import read_yaml

State = Literal["finished", "running", "stopped", "damaged"]
Say = Callable[[str], object]
MEASURED = ("utilization", "psnr", "rfid", "top1")
"""Numbers that a table of runs shows, where they are known."""


@dataclass(frozen=True)
class RunRow:
    """A run in a line."""

    name: str
    folder: Path
    trains: str
    """A tokenizer's codebook and its codes, or the name of a generator or classifier."""
    state: State
    """``stopped``: it can go on, with ``vqcli train --resume``."""
    step: int
    """The last one that was logged or saved."""
    steps: str
    """Of the recipe: a number, or ``40 epochs``."""
    measured: dict[str, float]
    """Of ``MEASURED`` what is known: from ``usage.json``, else from the last validation."""
    changed: str
    """When its newest file was written, local time, ISO 8601."""
    bytes: int


def list_runs(folder: Path, say: Say = lambda text: None) -> list[RunRow]:
    """The runs in a folder, those changed last first; a run itself is one. Raises VqcliError if none are.

    ``say`` is told of damaged lines of their logs, in sentences.
    """
    if not files.is_folder(folder):
        hint = "vqcli train makes runs/; or name another folder"
        raise VqcliError(f"{folder} is no folder with runs", hint=hint, reason="input-missing")
    places = [folder] if files.is_file(folder / "recipe.yaml") else files.children(folder)
    found = [place for place in places if files.is_file(place / "recipe.yaml")]
    if not found:
        hint = "vqcli train makes runs/; or name another folder"
        raise VqcliError(f"{folder} holds no runs", hint=hint, reason="input-empty")
    return sorted([_row(run, say) for run in found], key=lambda row: (row.changed, row.name), reverse=True)


def _row(run: Path, say: Say) -> RunRow:
    recipe: Mapping[str, Any] = {}
    try:
        recipe = read_yaml(run / "recipe.yaml")
        if files.text_edited(run / "recipe.yaml"):
            say(f"{run / 'recipe.yaml'} was edited since vqcli wrote it")
    except VqcliError as e:
        if e.reason == "os":
            raise
        say(f"{run / 'recipe.yaml'} is damaged: {e}")
    last = _logged(run, say)
    newest = checkpoints(run)
    saved = step_of(newest[-1]) if newest else 0
    inside = list(_stats(run))
    training = recipe.get("training")
    return RunRow(
        name=run.resolve().name,
        folder=run,
        trains=_trains(recipe),
        state=_state(run, bool(recipe)),
        step=max(saved, int(last.get("step", 0))),
        steps=str(training.get("steps", "?")) if isinstance(training, dict) else "?",
        measured=_measured(run / "model", last),
        changed=datetime.fromtimestamp(max(each.st_mtime for each in inside)).isoformat(timespec="seconds"),
        bytes=sum(each.st_size for each in inside),
    )


def _stats(run: Path) -> Iterator[os.stat_result]:
    """Of every file below, but the lock; one that is training may lose some meanwhile."""
    for path in files.below(run):
        with suppress(FileNotFoundError):
            if path.name != ".lock":
                yield path.stat()


def _state(run: Path, readable: bool) -> State:
    if files.held(run):
        return "running"
    if files.is_file(run / "model" / "config.json"):
        return "finished"
    return "stopped" if readable else "damaged"


def _logged(run: Path, say: Say) -> dict[str, float]:
    """The last value of every number of a run's log; what cannot be read is passed over."""
    last: dict[str, float] = {}
    with files.passing_over():
        for line in logged(run, say):
            last |= line
    return last


def _measured(model: Path, logged: Mapping[str, float]) -> dict[str, float]:
    told: dict[str, Any] = {}
    with files.passing_over():
        if record := UsageRecord.read(model):
            told = {"utilization": record.utilization, **record.quality}
    last = {
        name.removeprefix("validation/"): x for name, x in logged.items() if name.startswith("validation/")
    }
    known = last | told
    return {name: known[name] for name in MEASURED if isinstance(known.get(name), int | float)}


def _trains(recipe: Mapping[str, Any]) -> str:
    tokenizer = recipe.get("tokenizer")
    for kind in (kind for kind, row in KINDS.items() if row.on_tokens):
        if isinstance(network := recipe.get(kind), dict):
            return str(network.get("name", kind))
    codebook = tokenizer.get("codebook") if isinstance(tokenizer, dict) else None
    if not isinstance(codebook, dict):
        return str(recipe.get("task", "?"))
    size = codebook.get("size")
    return (
        f"{codebook.get('name', '?')}, {size:,} codes" if isinstance(size, int) else str(codebook.get("name"))
    )
