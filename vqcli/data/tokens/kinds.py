"""What ``vqcli encode`` has written, told by a name and a plan alone. No numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vqcli import files

PLAN = "plan.json"


def encoded_kind(path: Path) -> Literal["tokens", "latents"] | None:
    """Which of the two a path is, a file or folder that ``vqcli encode`` wrote; None for all else."""
    if path.suffix == ".npy":
        return "tokens"
    if not files.is_file(path / PLAN):
        return None
    return "latents" if "latents" in files.read_sealed(path / PLAN, files.LISTS) else "tokens"
