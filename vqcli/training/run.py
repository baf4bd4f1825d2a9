"""The run folder: recipe, metrics, samples, checkpoints, exported model; each written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from PIL.Image import Image

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.hub import checkpoints
from vqcli.training.recipe import Recipe, parse_recipe


class Run:
    """Paths and files of ``runs/NAME``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model"

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe; a folder with this file is a run."""
        return self.folder / "recipe.yaml"

    @property
    def metrics_file(self) -> Path:
        """One JSON object a line."""
        return self.folder / "metrics.jsonl"

    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return self.recipe_file.is_file()

    def finished(self) -> bool:
        """Whether the run has exported its model."""
        return (self.model / "config.json").is_file()

    def read_recipe(self) -> Recipe:
        """The run's own recipe."""
        from vqcli.config import read_yaml

        return parse_recipe(read_yaml(self.recipe_file), str(self.recipe_file))

    def write_recipe(self, recipe: Recipe) -> None:
        """Store the resolved recipe."""
        files.write_text(self.recipe_file, yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))

    def log(self, line: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``."""
        files.append_line(self.metrics_file, line)

    def forget_after(self, step: int) -> None:
        """Drop metrics of steps that a resumed run will repeat, and whatever a kill left unfinished."""
        for folder in (self.folder, self.folder / "checkpoints"):
            files.clean(folder)
        if self.metrics_file.exists():
            kept = [line for line in files.read_lines(self.metrics_file) if line["step"] <= step]
            self.metrics_file.unlink()
            for line in kept:
                self.log(line)

    def sample(self, step: int, picture: Image) -> None:
        """Store a reconstruction grid."""
        files.write_image(self.folder / "samples" / f"step-{step:08d}.png", picture)

    def save_checkpoint(self, step: int, write: Callable[[Path], None], keep: int) -> None:
        """Write a checkpoint, read it back, and only then let go of the oldest."""
        folder = self.folder / "checkpoints" / f"step-{step:08d}"
        with files.writing_folder(folder) as unfinished:
            write(unfinished)
        if not files.verified(folder):
            raise VqcliError(
                f"{folder} does not read back as it was written",
                hint="check the disk; older checkpoints are kept",
                reason="output",
            )
        for old in checkpoints(self.folder)[:-keep]:
            files.remove_folder(old)
