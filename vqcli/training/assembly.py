"""All that a run trains, put together: parts, optimizers, average, spread over processes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from vqcli.errors import VqcliError
from vqcli.training.data import Data
from vqcli.training.flags import Flags
from vqcli.training.optim import RunningAverage, make_optimizer
from vqcli.training.recipe import Recipe, steps_in
from vqcli.training.run import Run
from vqcli.training.shard import outline, shard
from vqcli.training.task import Task
from vqcli.training.window import Window
from vqcli.types import Progress


class Assembly:
    """The parts of a task on their devices, with optimizers and averages, and how far they have come."""

    def __init__(
        self, recipe: Recipe, task: Task, data: Data, run: Run, accelerator: Accelerator, progress: Progress
    ):
        self.recipe, self.task, self.data, self.run = recipe, task, data, run
        self.accelerator, self.progress = accelerator, progress
        config = recipe.training
        self.per_epoch = max(1, data.images // config.batch_size)
        self.steps = steps_in(config.steps, self.per_epoch)
        if self.steps < 1:
            raise VqcliError(
                f"training.steps: {config.steps} is less than one step", hint="train longer", reason="config"
            )
        self.step, self.saved, self.window = 0, 0, Window()
        self.seen: dict[str, Tensor] = {}
        """What this pass has shown so far, for the window."""
        self.stopped: list[int] = []
        """Signals to stop that came."""
        self.began, self.before, self.sittings = time.monotonic(), 0.0, 1
        self.rejected: set[str] = set()
        self.measured: dict[str, Any] = {}
        self.left: Callable[[], float | None] = lambda: None
        """Seconds until the last step, as far as they are known."""
        self.onlook: Callable[[], None] = lambda: None
        """Called on the first process when samples have been drawn."""
        self.modules = dict(task.parts)
        self.optimizers: dict[str, Any] = {}
        self.average = RunningAverage(self.modules["model"], config.average) if config.average else None
        self.sharded = config.shard and accelerator.num_processes > 1
        if self.sharded:
            self.outline = outline(self.modules["model"])
            if self.average is not None:
                shard(self.average.module, accelerator)
        elif config.shard:
            progress.say("training.shard has no effect on one process")
        for name, module in self.modules.items():
            called = shard(module, accelerator) if self.sharded else module
            optimizer = make_optimizer(module, task.tuning(name)[0], config.batch_size)
            with warnings.catch_warnings(action="ignore", category=FutureWarning):  # broadcast_buffers
                task.parts[name], self.optimizers[name] = accelerator.prepare(called, optimizer)
        self.flags: Flags | None = None
        if accelerator.device.type == "cuda" and not self.sharded:
            self.ask_later()

    def ask_later(self) -> None:
        """From now on, the device skips steps that are not sound by itself: see ``flags``."""
        self.flags = Flags(self.accelerator.device)
        if not self.accelerator.scaler:  # which does the same
            for optimizer in self.optimizers.values():
                optimizer.optimizer.found_inf = self.flags.skip

    @property
    def seconds(self) -> float:
        """How long the run has taken until now, all its sittings together; NaN where that was not kept."""
        return self.before + time.monotonic() - self.began

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end, and its model is there."""
        return self.step == self.steps and self.run.finished()

    def rejections(self) -> list[str]:
        """Names of all images rejected so far, on any process. A collective call."""
        return sorted(set(gather_object(list(self.rejected))))

    def best(self) -> nn.Module:
        """The model as it is exported: the running average if there is one."""
        return self.average.module if self.average is not None else self.modules["model"]
