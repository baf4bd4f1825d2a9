"""The run folder: recipe, metrics, samples, checkpoints, exported model; each written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL.Image import Image

from vqcli import files
from vqcli.data.images.open import claimant
from vqcli.errors import VqcliError
from vqcli.library.log import LOG, logged
from vqcli.library.references import checkpoints
from vqcli.plugins import needed
from vqcli.training.recipe import Recipe
from vqcli.yaml_text import dump_yaml


class Run:
    """Paths and files of ``runs/NAME``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model"
        self.kept: list[dict[str, Any]] | None = None
        """Of the log of a run that is taken up, what it will not repeat, until it has repeated the first."""

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe; a folder with this file is a run."""
        return self.folder / "recipe.yaml"

    @property
    def metrics_file(self) -> Path:
        """One JSON object a line."""
        return self.folder / LOG

    def started(self) -> bool:
        """Whether the folder holds a run."""
        return files.is_file(self.recipe_file)

    def finished(self) -> bool:
        """Whether the run has exported its model."""
        return files.is_file(self.model / "config.json")

    def write_recipe(self, recipe: Recipe) -> None:
        """Store the resolved recipe, with the plugins it needs, if any."""
        plugins = needed(recipe, claimant(recipe.data.source))
        files.write_sealed_text(self.recipe_file, dump_yaml(plugins | recipe.model_dump(mode="json")))

    def log(self, line: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``."""
        if self.kept is None:
            files.append_line(self.metrics_file, line)
        else:
            self.keep(line)

    def keep(self, *more: dict[str, Any]) -> None:
        """Let ``more`` take the place of metrics that this run repeats, if they are still there."""
        if self.kept is not None:
            lines = [files.line_of(line) for line in (*self.kept, *more)]
            files.write_text(self.metrics_file, "".join(lines))
            self.kept = None

    def clean(self) -> None:
        """Remove what a kill left unfinished."""
        for folder in (self.folder, self.folder / "checkpoints", self.folder / "samples"):
            files.clean(folder)

    def forget_after(self, step: int, say: Callable[[str], object]) -> None:
        """Remove metrics after ``step``, once there is something newer: a run resumed there repeats them.

        Measurements of ``step`` itself, too.
        """
        self.kept = [
            line
            for line in logged(self.folder, say)
            if line["step"] < step or (line["step"] == step and "learning_rate" in line)
        ]

    def sample(self, step: int, picture: Image) -> None:
        """Store a reconstruction grid."""
        files.write_image(self.folder / "samples" / f"step-{step:08d}.png", picture)

    @contextmanager
    def checkpoint(self, step: int, keep: int) -> Iterator[Path]:
        """A folder to write a checkpoint into; it is read back before the oldest are let go of."""
        folder = self.folder / "checkpoints" / f"step-{step:08d}"
        with files.writing_folder(folder) as unfinished:
            yield unfinished
        if not files.verified(folder, again=True):
            raise VqcliError(
                f"{folder} does not read back as it was written",
                hint="check the disk; older checkpoints are kept",
                reason="output",
            )
        self.keep()
        self.let_go(folder, keep)

    def let_go(self, newest: Path, keep: int) -> None:
        """Remove all checkpoints but so many; ``newest`` is known to be whole, later ones are damaged."""
        upto = [c for c in checkpoints(self.folder) if c.name <= newest.name]
        for old in upto[:-keep]:
            files.remove_folder(old)
