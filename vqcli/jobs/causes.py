"""What else is known of a model whose codebook is diagnosed: how it was trained, and what its run logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vqcli import files
from vqcli.library.log import logged
from vqcli.metrics.usage.diagnosis import diagnose
from vqcli.metrics.usage.facts import Counted, Diagnosis, Facts
from vqcli.types import Progress, silent
from vqcli.yaml_text import read_yaml


def find_causes(facts: Facts, folder: Path, progress: Progress = silent) -> Diagnosis:
    """Likely causes of low usage of the model in ``folder``, which may be part of a run that tells more."""
    return diagnose(replace(facts, trained=trained_as(folder), history=history_of(folder, progress)))


def run_of(folder: Path) -> Path | None:
    """The run that a model folder or a checkpoint is part of."""
    above = folder.resolve().parents
    return next((run for run in above[:2] if files.is_file(run / "recipe.yaml")), None)


def trained_as(folder: Path) -> Mapping[str, Any]:
    """The section ``tokenizer`` of the run's recipe, or of a checkpoint; empty of a model baked elsewhere."""
    if run := run_of(folder):
        section = read_yaml(run / "recipe.yaml").get("tokenizer")
    else:
        baked = files.is_file(folder / "codebook.safetensors")
        section = None if baked else files.read_listed(folder / "config.json").get("tokenizer")
    return section if isinstance(section, dict) else {}


def history_of(folder: Path, progress: Progress = silent) -> Sequence[Mapping[str, float]]:
    """Lines of the run's log; none without a run."""
    run = run_of(folder)
    return logged(run, progress.say) if run else []


def last_logged(folder: Path, size: int) -> Counted | None:
    """How a run used its ``size`` codes over the last steps it logged; None without a run."""
    counted = [line for line in history_of(folder) if "utilization" in line]
    if not counted:
        return None
    return Counted(size, round(counted[-1]["utilization"] * size), int(counted[-1]["utilization_tokens"]))
