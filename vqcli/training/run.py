"""The run folder: recipe, metrics, samples, checkpoints, exported model; each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL.Image import Image

from vqcli import files
from vqcli.config import dump_yaml
from vqcli.data.images.open import claimant
from vqcli.errors import VqcliError
from vqcli.library.references import checkpoints
from vqcli.plugins import needed
from vqcli.training.recipe import Recipe


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

    def write_recipe(self, recipe: Recipe) -> None:
        """Store the resolved recipe, with the plugins it needs, if any."""
        plugins = needed(recipe, claimant(recipe.data.source))
        files.write_sealed_text(self.recipe_file, dump_yaml(plugins | recipe.model_dump(mode="json")))

    def log(self, line: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``."""
        files.append_line(self.metrics_file, line)

    def forget_after(self, step: int) -> None:
        """Drop metrics that a run resumed after ``step`` will repeat, and whatever a kill left unfinished.

        Measurements of ``step`` itself are repeated too.
        """
        for folder in (self.folder, self.folder / "checkpoints", self.folder / "samples"):
            files.clean(folder)
        if self.metrics_file.exists():
            kept = [
                json.dumps(line) + "\n"
                for line in files.read_lines(self.metrics_file)
                if line["step"] < step or (line["step"] == step and "learning_rate" in line)
            ]
            files.write_text(self.metrics_file, "".join(kept))

    def sample(self, step: int, picture: Image) -> None:
        """Store a reconstruction grid."""
        files.write_image(self.folder / "samples" / f"step-{step:08d}.png", picture)

    @contextmanager
    def checkpoint(self, step: int, keep: int) -> Iterator[Path]:
        """A folder to write a checkpoint into; it is read back before the oldest are let go of."""
        folder = self.folder / "checkpoints" / f"step-{step:08d}"
        with files.writing_folder(folder) as unfinished:
            yield unfinished
        if not files.verified(folder):
            raise VqcliError(
                f"{folder} does not read back as it was written",
                hint="check the disk; older checkpoints are kept",
                reason="output",
            )
        upto = [c for c in checkpoints(self.folder) if c.name <= folder.name]  # later ones are damaged
        for old in upto[:-keep]:
            files.remove_folder(old)
