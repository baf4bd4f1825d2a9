"""Model references: what a user may write after ``--model``."""

from __future__ import annotations

import os
from pathlib import Path

from vqcli.errors import VqcliError
from vqcli.files import verified

ENVIRONMENT = "VQCLI_MODEL"


def checkpoints(run: Path) -> list[Path]:
    """Checkpoint folders of a run, oldest first."""
    return sorted(p for p in (run / "checkpoints").glob("step-*") if p.is_dir())


def newest_checkpoint(run: Path) -> Path | None:
    """The checkpoint of the highest step whose manifest verifies."""
    return next((c for c in reversed(checkpoints(run)) if verified(c)), None)


def locate(reference: str | None, *, unbaked: bool = False) -> Path:
    """The folder of a model: a model folder, a run (its export, else its newest checkpoint) or a checkpoint.

    ``unbaked`` asks for the checkpoint first: a codebook that was baked for export cannot train on as it was.
    None stands for ``$VQCLI_MODEL``. Raises VqcliError where there is no model.
    """
    reference = reference or os.environ.get(ENVIRONMENT)
    if not reference:
        raise VqcliError(
            "no model was given",
            hint=f"`vqcli train` makes runs/demo; name a model, or set ${ENVIRONMENT}",
            reason="input-missing",
        )
    path = Path(reference)
    if not path.is_dir():
        raise VqcliError(
            f"there is no model at {reference}",
            hint="give a model folder or a run, such as runs/demo (usage-report: or tokens)",
            reason="input-missing",
        )
    if (path / "recipe.yaml").is_file():
        return _of_run(path, unbaked)
    if not (path / "config.json").is_file():
        raise VqcliError(
            f"{path} is no model folder: it has no config.json",
            hint="vqcli train makes one",
            reason="input-missing",
        )
    return path


def _of_run(run: Path, unbaked: bool) -> Path:
    exported = run / "model" if (run / "model" / "config.json").is_file() else None
    newest = newest_checkpoint(run) if unbaked or not exported else None
    found = newest or exported
    if found is None:
        raise VqcliError(
            f"{run} is a run without a finished checkpoint",
            hint=f"continue it: vqcli train --resume {run}",
            reason="input-missing",
        )
    return found
