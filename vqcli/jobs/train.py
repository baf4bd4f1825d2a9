"""Train what a recipe describes, or continue a run that was interrupted."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vqcli import files
from vqcli.checkpoint.folder import row_of
from vqcli.data.loader import TrainPlan, batches_per_epoch
from vqcli.errors import VqcliError
from vqcli.jobs.finder import Finder
from vqcli.jobs.options import TrainOptions
from vqcli.jobs.processes import meet
from vqcli.library.references import newest_checkpoint
from vqcli.registry import resolve
from vqcli.report.curves import curves
from vqcli.training.accelerator import Accelerator, check_fits, end, make_accelerator, set_seed
from vqcli.training.data import Data
from vqcli.training.loop import Trainer
from vqcli.training.recipe import Recipe, read_recipe
from vqcli.training.resume import restore
from vqcli.training.run import Run
from vqcli.types import Progress, silent

RUNS = Path("runs")


@dataclass(frozen=True)
class TrainResult:
    """What a run came to."""

    run: Path
    model: Path
    task: str
    """What the recipe trains: its ``task``."""
    steps: int
    seconds: float
    """Of this process; a resumed run counts from its resumption."""
    rejected: int
    measured: dict[str, Any]
    """Measurements on held-out images."""

    @property
    def summary(self) -> list[str]:
        """What a user is told of the measurements, a line each."""
        told: list[str] = resolve("tasks", self.task).summary(self.measured)
        return told

    @property
    def use(self) -> str:
        """What is done with the model first: a command, before its ``-m MODEL``."""
        return row_of(self.model).use


def train(options: TrainOptions, progress: Progress = silent) -> TrainResult:
    """Train to the end and export the model. Raises VqcliError, or Interrupted by a signal."""
    run, recipe = prepare_run(options)
    device = meet(options.device, progress)
    accelerator = make_accelerator(recipe, run, device, options.trackers)
    trainer = None
    try:
        check_fits(recipe, accelerator)
        trainer = make_trainer(recipe, run, accelerator, progress)  # checks the data before there is a folder
        with files.locked(run.folder) if accelerator.is_main_process else nullcontext():
            if accelerator.is_main_process and not options.resume:
                check_free(run)  # another process may have come first
            return fit(trainer, options, progress)
    finally:
        del trainer
        end(accelerator)


def fit(trainer: Trainer, options: TrainOptions, progress: Progress) -> TrainResult:
    """Train, from the start or from a checkpoint, to the end."""
    start = time.monotonic()
    begin(trainer, options, progress)
    trainer.onlook = partial(draw_curves, trainer.run, progress)
    try:
        measured = {k: v for k, v in trainer.fit().items() if isinstance(v, int | float)}
    finally:  # what a run that stopped or diverged came to is worth seeing too
        if trainer.accelerator.is_main_process:
            trainer.onlook()
    rejected = len(trainer.rejections())
    run = trainer.run
    return TrainResult(
        run=run.folder,
        model=run.model,
        task=trainer.recipe.task,
        steps=trainer.steps,
        seconds=time.monotonic() - start,
        rejected=rejected,
        measured=measured,
    )


def draw_curves(run: Run, progress: Progress) -> None:
    """Write ``curves.svg``, which shows ``metrics.jsonl``; says so where it cannot, and never raises."""
    try:
        if run.metrics_file.exists():
            picture = curves(list(files.read_lines(run.metrics_file)), run.folder.resolve().name)
            files.write_text(run.folder / "curves.svg", picture)
    except Exception as e:  # a picture must neither end a run nor hide why it ended
        progress.say(f"{run.folder / 'curves.svg'} was not drawn: {e}")


def prepare_run(options: TrainOptions) -> tuple[Run, Recipe]:
    """The run folder and the recipe that holds for it."""
    if options.resume:
        return resumed(options)
    name = options.recipe or "demo"
    if Path(name).is_dir() and Run(Path(name)).exists():
        raise VqcliError(
            f"{name} is a run, not a recipe",
            hint=f"continue it: vqcli train --resume {name}; or train {name}/recipe.yaml anew, with --out",
            reason="config",
        )
    recipe = read_recipe(name, options.settings, options.lpips_weights)
    run = Run(options.out or RUNS / Path(name).stem)
    check_free(run)
    return run, recipe


def check_free(run: Run) -> None:
    """Raises VqcliError if the folder holds a run, or anything else."""
    if run.exists():
        raise VqcliError(
            f"{run.folder} already holds a run",
            hint=f"continue it with --resume {run.folder}, or give another --out",
            reason="exists",
        )
    if run.folder.is_dir() and any(not path.name.startswith(".") for path in run.folder.iterdir()):
        raise VqcliError(
            f"{run.folder} is not empty and holds no run", hint="give another --out", reason="exists"
        )


def resumed(options: TrainOptions) -> tuple[Run, Recipe]:
    """The run to continue, and its recipe with what is overridden; its checkpoint says what may be."""
    run = find_run(options)
    return run, read_recipe(str(run.recipe_file), options.settings, options.lpips_weights)


def find_run(options: TrainOptions) -> Run:
    """The named run, else the newest unfinished one under ``runs/``."""
    if options.out and options.recipe:
        raise VqcliError("--resume takes one run", hint="leave --out away", reason="option")
    if options.out or options.recipe:
        folder = options.out or Path(options.recipe or "")
        candidates = [folder] if folder.is_absolute() else [folder, RUNS / folder]
        found = next((Run(c) for c in candidates if Run(c).exists()), None)
        if found is None:
            raise VqcliError(
                f"{folder} holds no run to resume", hint="start one: vqcli train", reason="input-missing"
            )
        return found
    runs = [Run(p.parent) for p in RUNS.glob("*/recipe.yaml")]
    unfinished = [run for run in runs if not run.finished()]
    if not unfinished:
        raise VqcliError(
            "there is no unfinished run under runs/", hint="name one: --resume DIR", reason="input-missing"
        )
    return max(unfinished, key=lambda run: run.recipe_file.stat().st_mtime)


def make_trainer(recipe: Recipe, run: Run, accelerator: Accelerator, progress: Progress) -> Trainer:
    """Everything a run needs, built in the order that makes it repeatable."""
    kind, models = resolve("tasks", recipe.task), Finder(progress)
    rank, world = accelerator.process_index, accelerator.num_processes
    per_pass = recipe.training.batch_size // (recipe.training.accumulate * world)
    plan = TrainPlan(recipe.seed, per_pass, rank, world, recipe.data.num_workers)
    data: Data = kind.open_data(recipe, plan, models)
    if not batches_per_epoch(data.images, plan):
        raise VqcliError(
            f"{data.images} training images do not fill one batch of {recipe.training.batch_size}",
            hint="add images, or lower training.batch_size",
            reason="input-empty",
        )
    set_seed(recipe.seed)
    resumes = newest_checkpoint(run.folder) is not None  # it has all weights that the run needs
    task = kind(recipe, accelerator.device, models=models, data=data, empty=resumes)
    if recipe.init and not resumes:
        local = Path(recipe.init).is_dir()  # a run's checkpoint is better than its export: not baked
        task.start_from(recipe.init if local else str(models.folder(recipe.init)), progress)
    set_seed(recipe.seed + rank)  # equal weights everywhere, different noise
    return Trainer(recipe, task, data, run, accelerator, progress)


def begin(trainer: Trainer, options: TrainOptions, progress: Progress) -> None:
    """Take up the newest checkpoint, or write down the recipe of a new run."""
    run, main = trainer.run, trainer.accelerator.is_main_process
    checkpoint = newest_checkpoint(run.folder) if options.resume else None
    if checkpoint:
        restore(trainer, checkpoint, accept_changes=options.accept_changes)
        progress.say(f"resuming {run.folder} at step {trainer.step} of {trainer.steps}")
    elif main:
        run.forget_after(-1)
    if main:
        run.write_recipe(trainer.recipe)
    if options.trackers:
        trainer.accelerator.init_trackers("vqcli", config={"recipe": str(run.recipe_file)})
