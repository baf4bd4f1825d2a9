"""Train what a recipe describes, or continue a run that was interrupted."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vqcli import files
from vqcli.checkpoint.folder import row_of
from vqcli.data.loader import TrainPlan, batches_per_epoch
from vqcli.errors import VqcliError
from vqcli.jobs.check import require_room
from vqcli.jobs.finder import Finder
from vqcli.jobs.loading import worker_count
from vqcli.jobs.options import TrainOptions
from vqcli.jobs.places import check_folder
from vqcli.jobs.processes import meet
from vqcli.jobs.train_asked import check_is_recipe, recipe_name, with_codes
from vqcli.jobs.train_head import head
from vqcli.jobs.train_resume import RUNS, find_run, resumed_from
from vqcli.library.log import logged
from vqcli.library.references import check_named
from vqcli.registry import resolve
from vqcli.report.curves import curves
from vqcli.training.accelerator import Accelerator, check_fits, end, make_accelerator, set_seed
from vqcli.training.data import Data
from vqcli.training.labelled import check_there
from vqcli.training.loop import Trainer
from vqcli.training.recipe import Recipe, read_recipe
from vqcli.training.resume import restore
from vqcli.training.run import Run
from vqcli.training.words import minutes
from vqcli.types import Progress, silent


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
    sittings: int
    """How often the run was taken up until it was finished, this time included."""
    total_seconds: float | None
    """Of all sittings; None where an older version did not keep it."""
    rejected: int
    measured: dict[str, Any]
    """Measurements on held-out images."""

    @property
    def summary(self) -> list[str]:
        """What a user is told of the measurements, a line each."""
        told: list[str] = resolve("tasks", self.task).summary(self.measured)
        return told

    @property
    def pictures(self) -> list[Path]:
        """What there is to look at: the last samples, and the curves."""
        samples = files.children(self.run / "samples", "step-*.png")
        return [path for path in (*samples[-1:], self.run / "curves.svg") if files.is_file(path)]

    @property
    def next(self) -> str:
        """What is typed first with the model."""
        return row_of(self.model).line(self.run)


def train(options: TrainOptions, progress: Progress = silent) -> TrainResult:
    """Train to the end and export the model. Raises VqcliError, or Interrupted by a signal."""
    device = meet(options.device, progress)  # first: who fails alone from here on is missed at once
    run, recipe = prepare_run(options, progress)
    accelerator = make_accelerator(recipe, run, device, options.trackers)
    trainer = None
    try:
        check_fits(recipe, accelerator)
        with ExitStack() as held:
            checkpoint = None
            if options.resume:
                if accelerator.is_main_process:
                    held.enter_context(files.locked(run.folder))
                    run.clean()
                checkpoint = resumed_from(run, progress)
            trainer = make_trainer(recipe, run, accelerator, progress, checkpoint)
            if accelerator.is_main_process and not options.resume:  # with sound data, there is a folder
                held.enter_context(files.locked(run.folder))
                run.clean()
                check_free(run)  # another process may have come first
            return fit(trainer, options, progress, checkpoint)
    finally:
        del trainer
        end(accelerator)


def fit(
    trainer: Trainer, options: TrainOptions, progress: Progress, checkpoint: Path | None = None
) -> TrainResult:
    """Train, from the start or from a checkpoint, to the end."""
    start = time.monotonic()
    begin(trainer, options, progress, checkpoint)
    run, finished = trainer.run, trainer.finished
    if finished:
        progress.say(f"{run.folder} is finished: {trainer.steps:,} steps; --steps trains it further")
        measured = last_measured(run)
    else:
        measured = train_on(trainer, options, progress)
    rejected = len(trainer.rejections())
    total = trainer.before if finished else trainer.seconds
    return TrainResult(
        run=run.folder,
        model=run.model,
        task=trainer.recipe.task,
        steps=trainer.steps,
        seconds=time.monotonic() - start,
        sittings=trainer.sittings,
        total_seconds=total if math.isfinite(total) else None,
        rejected=rejected,
        measured=measured,
    )


def train_on(trainer: Trainer, options: TrainOptions, progress: Progress) -> dict[str, Any]:
    """The steps that are left, with first lines before them and curves behind; what was measured."""
    for line in head(trainer, options):
        progress.say(line)
    if trainer.step:
        so_far = "" if math.isnan(trainer.before) else f" after {minutes(trainer.before)}"
        progress.say(
            f"resuming {trainer.run.folder} at step {trainer.step} of {trainer.steps}{so_far}, "
            f"sitting {trainer.sittings}"
        )
    trainer.onlook = partial(draw_curves, trainer.run, progress)
    try:
        return {k: v for k, v in trainer.fit().items() if isinstance(v, int | float)}
    finally:  # what a run that stopped or diverged came to is worth seeing too
        if trainer.accelerator.is_main_process:
            trainer.onlook()


def last_measured(run: Run) -> dict[str, Any]:
    """What a run's log says of its last measurement; empty where nothing was measured."""
    told = [{k.removeprefix("validation/"): v for k, v in x.items() if k != "step"}
            for x in logged(run.folder)[-1:] if any(k.startswith("validation/") for k in x)]  # fmt: skip
    return told[0] if told else {}


def draw_curves(run: Run, progress: Progress) -> None:
    """Write ``curves.svg``, which shows ``metrics.jsonl``; says so where it cannot, and never raises."""
    try:
        if lines := logged(run.folder):
            files.write_text(run.folder / "curves.svg", curves(lines, run.folder.resolve().name))
    except Exception as e:  # a picture must neither end a run nor hide why it ended
        progress.say(f"{run.folder / 'curves.svg'} was not drawn: {e}")


def prepare_run(options: TrainOptions, progress: Progress = silent) -> tuple[Run, Recipe]:
    """The run folder and the recipe that holds for it."""
    if options.resume:
        return resumed(options, progress)
    name = recipe_name(options)
    check_is_recipe(name)
    recipe = read_recipe(name, with_codes(name, options), options.lpips_weights)
    check_there(recipe.data.source)  # what was typed, before what follows from it
    run = Run(options.out or RUNS / Path(name).stem)
    check_free(run)
    return run, recipe


def check_free(run: Run) -> None:
    """Raises VqcliError if the folder holds a run, or anything else."""
    check_folder(run.folder)
    if run.started():
        raise VqcliError(
            f"{run.folder} already holds a run",
            hint=f"continue it with --resume {run.folder}, or give another --out",
            reason="exists",
        )
    if files.children(run.folder, "[!.]*"):
        raise VqcliError(
            f"{run.folder} is not empty and holds no run", hint="give another --out", reason="exists"
        )


def resumed(options: TrainOptions, progress: Progress = silent) -> tuple[Run, Recipe]:
    """The run to continue, and its recipe with what is overridden; its checkpoint says what may be."""
    run = find_run(options)
    name = str(run.recipe_file)
    if files.text_edited(run.recipe_file):
        progress.say(f"{name} was edited since vqcli wrote it: it is taken as it is")
    return run, read_recipe(name, with_codes(name, options), options.lpips_weights)


def make_trainer(
    recipe: Recipe, run: Run, accelerator: Accelerator, progress: Progress, checkpoint: Path | None = None
) -> Trainer:
    """Everything a run needs, built in the order that makes it repeatable; ``checkpoint`` has its weights."""
    kind, models = resolve("tasks", recipe.task), Finder(progress)
    rank, world = accelerator.process_index, accelerator.num_processes
    per_pass = recipe.training.batch_size // (recipe.training.accumulate * world)
    workers = worker_count(recipe.data.num_workers, accelerator.device)
    plan = TrainPlan(recipe.seed, per_pass, rank, world, workers)
    if recipe.init and not checkpoint:
        check_named(recipe.init)  # before anything is fetched
    data: Data = kind.open_data(recipe, plan, models)
    if not batches_per_epoch(data.images, plan):
        passes = recipe.training.accumulate * world
        largest = data.images // passes * passes
        there = "1 training image does" if data.images == 1 else f"{data.images:,} training images do"
        raise VqcliError(
            f"{there} not fill one batch of {recipe.training.batch_size}",
            hint="add images" + (f", or lower --batch-size, to {largest} at most" if largest else ""),
            reason="input-empty",
        )
    require_room(recipe, data)
    set_seed(recipe.seed)
    task = kind(recipe, accelerator.device, models=models, data=data, empty=checkpoint is not None)
    if recipe.init and not checkpoint:
        local = files.is_folder(Path(recipe.init))  # a run's checkpoint is better than its export: not baked
        task.start_from(recipe.init if local else str(models.folder(recipe.init)), progress)
    set_seed((recipe.seed + rank) % (1 << 32))  # equal weights everywhere, different noise
    return Trainer(recipe, task, data, run, accelerator, progress)


def begin(
    trainer: Trainer, options: TrainOptions, progress: Progress, checkpoint: Path | None = None
) -> None:
    """Take up a checkpoint, or write down the recipe of a new run."""
    run, main = trainer.run, trainer.accelerator.is_main_process
    if checkpoint:
        restore(trainer, checkpoint, accept_changes=options.accept_changes)
    elif main:
        run.forget_after(-1, progress.say)
    if main:
        run.write_recipe(trainer.recipe)
    if options.trackers:
        trainer.accelerator.init_trackers("vqcli", config={"recipe": str(run.recipe_file)})
