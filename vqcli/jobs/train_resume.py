"""Which run is continued, and from where."""

from __future__ import annotations

from pathlib import Path

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.options import TrainOptions
from vqcli.library.references import newest_checkpoint, step_of
from vqcli.training.run import Run
from vqcli.types import Progress

RUNS = Path("runs")


def find_run(options: TrainOptions) -> Run:
    """The named run, else the newest unfinished one under ``runs/``."""
    if options.out and options.recipe:
        raise VqcliError("--resume takes one run", hint="leave --out away", reason="option")
    if options.out or options.recipe:
        folder = options.out or Path(options.recipe or "")
        candidates = [folder] if folder.is_absolute() else [folder, RUNS / folder]
        found = next((Run(c) for c in candidates if Run(c).started()), None)
        if found is None:
            raise VqcliError(
                f"{folder} holds no run to resume", hint="start one: vqcli train", reason="input-missing"
            )
        return found
    runs = [run for run in map(Run, files.children(RUNS)) if run.started()]
    unfinished = [run for run in runs if not run.finished()]
    if not unfinished:
        raise VqcliError(
            "there is no unfinished run under runs/", hint="name one: --resume DIR", reason="input-missing"
        )
    return max(unfinished, key=lambda run: run.recipe_file.stat().st_mtime)


def resumed_from(run: Run, progress: Progress) -> Path | None:
    """The checkpoint that a run goes on from; None where it was stopped before its first.

    Asked once, by who holds the run: what is found is what is read. Says where it is not the newest. Raises
    VqcliError where one cannot be read, where none is whole, and where a finished run has none left.
    """
    damaged: dict[Path, Path] = {}
    found = newest_checkpoint(run.folder, damaged.__setitem__)
    told = "; ".join(f"step {step_of(folder)} is damaged: {file}" for folder, file in damaged.items())
    if found:
        if told:
            progress.say(f"{run.folder} goes on from step {step_of(found)}; {told}")
        return found
    weights = f" from its weights: --init {run.model}" if run.finished() else ""
    hint = f"copy the run again, or start a new one{weights}"
    if told:
        raise VqcliError(f"{run.folder} has no whole checkpoint; {told}", hint=hint, reason="damaged")
    if run.finished():
        message = f"{run.folder} is finished, and has no checkpoint to go on from"
        raise VqcliError(message, hint=hint, reason="input-missing")
    progress.say(f"{run.folder} has no checkpoint yet: it starts at step 0")
    return None
