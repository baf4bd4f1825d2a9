"""What a run looks at beside its training: held-out images, measured and drawn, on all processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from vqcli.training.assembly import Assembly
from vqcli.training.data import Loaded

DRAWN = 8
"""Held-out images, of each process, that a grid may show."""


class Measuring(Assembly):
    """Measures and draws what an assembly has learned; changes nothing of it."""

    def draw(self) -> None:
        """Store a grid of what the model makes. Every process draws: a model may be spread over them."""
        loaded = next(self.data.held_out(DRAWN * self.accelerator.num_processes), None)
        batch = self.load_eval(loaded) if loaded is not None and len(loaded) else None
        with evaluating(self.best()) as model:
            picture = self.task.picture(model, batch)
        if self.accelerator.is_main_process:
            if picture is not None:
                self.run.sample(self.step, picture)
            self.onlook()

    def load_eval(self, loaded: Loaded) -> Any:
        """A held-out batch on the device; rejected images are counted and named."""
        self.reject(loaded)
        return self.task.load(loaded)

    def measure(self) -> dict[str, Any]:
        """Measurements on held-out images, logged; the last ones complete."""
        most, last = self.recipe.training.validation_images, self.step == self.steps
        if last:
            self.progress.start("measure on held-out images", self.share(min(most, self.data.held)), "images")
        batches = self.to_measure(self.data.held_out(most), last)
        with evaluating(self.best()) as model:
            measured = self.task.validate(model, self.in_step(model, batches) if self.sharded else batches)
            if last:
                measured = self.task.complete(model, measured, self.again)
        numbers = {f"validation/{k}": v for k, v in measured.items() if isinstance(v, int | float)}
        if self.accelerator.is_main_process and numbers:
            self.run.log({"step": self.step} | numbers)
            self.accelerator.log(numbers, step=self.step)
        return measured

    def again(self, most: int) -> Iterator[Any]:
        """Batches of so many training images, this process's share, to be measured."""
        share = self.share(min(most, self.data.images))
        self.progress.start("count codes of training images", share, "images")
        yield from self.to_measure(self.data.again(most), True)

    def share(self, images: int) -> int:
        """How many of so many images this process is given."""
        return len(range(self.accelerator.process_index, images, self.accelerator.num_processes))

    def to_measure(self, loaded: Iterator[Loaded], shown: bool) -> Iterator[Any]:
        """Batches on the device, without what was rejected; ``shown`` tells how far they have come."""
        for batch in loaded:
            self.reject(batch)
            if len(batch):
                yield self.task.load(batch)
            if shown:
                self.progress.advance(len(batch) + len(batch.rejected))

    def in_step(self, model: nn.Module, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches of this process; while only others have more, the model is called along with theirs."""
        while self.anywhere((batch := next(batches, None)) is not None):
            if batch is None:
                model(*self.task.example(1))
            else:
                yield batch

    def reject(self, loaded: Loaded) -> None:
        """Count and name what a batch has left out, each image once."""
        for bad in loaded.rejected:
            if bad.key not in self.rejected:
                self.rejected.add(bad.key)
                self.progress.say(f"rejected {bad}")

    def anywhere(self, flag: bool) -> bool:
        """Whether ``flag`` holds on any process, known to all of them."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(
            self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum").item()
        )


@contextmanager
def evaluating(module: nn.Module) -> Iterator[nn.Module]:
    """The module in evaluation mode and without gradients, for a while."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield module
    finally:
        module.train(training)
