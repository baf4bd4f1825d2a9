"""The training loop: one for every task, on one process or many."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from shlex import quote
from typing import Any

import torch
from torch import Tensor, nn

from vqcli import files
from vqcli.errors import Interrupted, VqcliError
from vqcli.library.references import checkpoints
from vqcli.training.data import Loaded
from vqcli.training.flags import Check
from vqcli.training.measuring import Measuring, evaluating
from vqcli.training.optim import forget
from vqcli.training.resume import save
from vqcli.training.schedules import decay_at, rate_factor
from vqcli.training.shard import fill, whole_tensor
from vqcli.training.stop import stop_signals
from vqcli.training.task import Losses
from vqcli.training.words import TOTAL, log_line, time_left


class Trainer(Measuring):
    """Trains the parts of a task as the recipe says, into a run folder."""

    def fit(self) -> dict[str, Any]:
        """Train to the last step, measure, export; returns the measurements. Raises Interrupted."""
        config = self.recipe.training
        for text in self.task.remarks(self.steps):
            self.progress.say(text)
        if not self.step:
            with self.window.paused():
                self.task.begin(self.data, self.progress)
        self.progress.start("train", self.steps, "steps", self.step)
        first, since = self.step, time.monotonic()
        self.left = lambda: time_left(self.step - first, self.steps - self.step, time.monotonic() - since)
        batches = self.data.train(self.step * config.accumulate)
        with stop_signals() as stopped:
            self.stopped = stopped
            while self.step < self.steps:
                if self.step:
                    self.look()  # after saving: a resumed run looks again, a stopped one stops at once
                self.train_step(batches)
                self.step += 1
                self.progress.advance()
                self.after_step()
        return self.finish()

    def train_step(self, batches: Iterator[Loaded]) -> None:
        """One optimizer step of every part, over ``accumulate`` passes."""
        accumulate = self.recipe.training.accumulate
        for part, optimizer in self.optimizers.items():
            config, schedule = self.task.tuning(part)
            factor = rate_factor(schedule, self.step, self.steps, self.per_epoch)
            decay = decay_at(config, self.step, self.steps)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
                group["weight_decay"] = decay if group["decays"] else 0.0
        for index in range(accumulate):
            batch = self.next_batch(batches, first=index == 0)
            last = index == accumulate - 1
            with ExitStack() as stack:
                if not last:
                    for module in self.task.parts.values():
                        stack.enter_context(self.accelerator.no_sync(module))
                for part, losses in self.task.losses(batch, self.step):
                    total = self.total(part, losses) / accumulate
                    if index == 0:  # not before: on a CPU, pages given back would be faulted in again
                        self.optimizers[part].zero_grad(set_to_none=True)
                    self.accelerator.backward(total)
                    if last:
                        self.step_part(part)
            self.window.add(self.seen | self.task.observed())
            self.seen = {}
        if self.average is not None:
            self.average.update(self.modules["model"])

    def next_batch(self, batches: Iterator[Loaded], *, first: bool) -> Any:
        """What is trained on next; where it cannot be read, what has been trained until then is kept."""
        try:
            return self.load(next(batches))
        except VqcliError:
            alone = self.accelerator.num_processes == 1  # others are in the middle of a step
            if first and alone and self.step and self.saved < self.step:
                self.save()
                self.progress.say(f"what was trained until step {self.step} is kept")
            raise

    def load(self, loaded: Loaded) -> Any:
        """A batch on the device; rejected images are counted and named."""
        self.reject(loaded)
        if not len(loaded):
            each = len(loaded.rejected)
            so_far = f"; {len(self.rejected):,} have been until step {self.step:,}" if each else ""
            raise VqcliError(
                f"{'every image' if each > 1 else 'the one image'} of a batch of {each} was rejected{so_far}",
                hint="take such images out (vqcli encode lists them), or raise --batch-size",
                reason="input-empty",
            )
        self.window.images += len(loaded) * self.accelerator.num_processes
        return self.task.load(loaded)

    def total(self, part: str, losses: Losses) -> Tensor:
        """The sum of a part's losses. Raises VqcliError before anything is applied if it is not finite."""
        total = torch.stack([x.float() for x in losses.values()]).sum()
        named = {of(part, name): x.detach() for name, x in losses.items()}
        self.require_finite(part, total, lambda: ", ".join(f"{k} {v.item():g}" for k, v in named.items()))
        self.seen |= named | ({TOTAL: total.detach()} if part == "model" else {})
        return total

    def require_finite(self, part: str, value: Tensor, what: Callable[[], str]) -> None:
        """Stop all processes together if ``value`` is not finite on any of them; with flags, a step later."""
        check = Check(self.step + 1, part, value.detach(), what)
        if self.flags:
            self.flags.add(check)
        elif self.anywhere(not check.holds):
            raise self.diverged(check)

    def diverged(self, check: Check) -> VqcliError:
        """What ends a run with a number that is not finite."""
        kept, rate = checkpoints(self.run.folder), "optimizer.lr"
        rate = rate if check.part == "model" else f"adversarial.{rate}"
        return VqcliError(
            f"training diverged at step {check.step}: {check.what()}",
            hint=f"try a lower {rate}" + (f"; {kept[-1]} is from before" if kept else ""),
            reason="diverged",
        )

    def step_part(self, part: str) -> None:
        """Clip and step one part."""
        optimizer, clip = self.optimizers[part], self.task.tuning(part)[0].clip
        self.accelerator.unscale_gradients(optimizer)
        norm = whole_tensor(clipped(self.modules[part], clip))
        if not self.accelerator.scaler:  # which skips such a step and lowers its scale
            self.require_finite(part, norm, lambda: f"gradient norm of {part} is {norm.item():g}")
        self.seen[of(part, "gradient_norm")] = norm
        if self.flags:
            self.flags.share(bool(self.stopped))
        optimizer.step()
        if self.accelerator.device.type != "cpu":  # elsewhere the next forward pass can use the room
            optimizer.zero_grad(set_to_none=True)
        forget(optimizer, self.task.stepped(part) or ())

    def due(self, every: int) -> bool:
        """Whether something done every so many steps, and after the last, is to be done now."""
        return self.step % every == 0 or self.step == self.steps

    def after_step(self) -> None:
        """Log and save where the recipe asks for it, and stop if a signal said so. Raises Interrupted."""
        stop = self.asked_to_stop()
        if self.due(self.recipe.training.log_every):
            self.log()
        if self.due(self.recipe.training.checkpoint_every) or stop:
            with self.window.paused():
                self.save()
        if stop:
            raise Interrupted(
                f"stopped at step {self.step}; to go on: vqcli train --resume {quote(str(self.run.folder))}",
                self.stopped[0] if self.stopped else signal.SIGTERM,
            )

    def asked_to_stop(self) -> bool:
        """Whether a signal reached any process; with flags, until the step before, which must be sound."""
        if not self.flags:
            return self.anywhere(bool(self.stopped))
        failed, stop = self.flags.before(self.step)
        if failed:
            raise self.diverged(failed)
        return stop

    def sure(self) -> None:
        """Wait until the last step is known to be sound. Raises VqcliError."""
        if self.flags and (failed := self.flags.now()):
            raise self.diverged(failed)

    def save(self) -> None:
        """Write a checkpoint of a sound step."""
        self.sure()
        save(self)

    def look(self) -> None:
        """Draw and measure where the recipe asks for it; changes nothing of what is trained."""
        with self.window.paused(), own_numbers(self.recipe.seed, self.accelerator.device):
            if self.due(self.recipe.training.sample_every):
                self.draw()
            if self.due(self.recipe.training.validate_every):
                self.measured = self.measure()
                if self.step < self.steps:  # the last is the result
                    for text in self.task.summary(self.measured):
                        self.progress.say(f"step {self.step:,}: {text}")

    def log(self) -> None:
        """Write and show means since the last line."""
        self.sure()
        first = {part: optimizer.param_groups[0] for part, optimizer in self.optimizers.items()}
        rates = {of(part, "learning_rate"): group["lr"] / group["scale"] for part, group in first.items()}
        numbers = self.window.close() | rates | self.task.numbers()
        if rejected := len(self.rejections()):
            numbers["rejected"] = rejected
        if self.accelerator.is_main_process:
            self.run.log({"step": self.step} | numbers)
            self.accelerator.log(numbers, step=self.step)
        at, losses = (self.step, self.steps), tuple(getattr(self.recipe, "losses", ()))
        self.progress.say(log_line(at, numbers, losses, self.left()))
        for text in self.task.warnings(numbers):
            self.progress.say(f"step {self.step}: {text}")

    def finish(self) -> dict[str, Any]:
        """Measure and export."""
        self.look()
        main, best = self.accelerator.is_main_process, self.best()
        if self.sharded:
            best = fill(self.outline, best, keep=main)
        if main:
            with files.writing_folder(self.run.model) as folder, evaluating(best) as model:
                self.task.export(model, folder, self.measured)
        self.accelerator.wait_for_everyone()
        return self.measured


def clipped(module: nn.Module, clip: float) -> Tensor:
    """Scale a module's gradients to a norm of ``clip`` at most, 0 for any; returns what it was, a scalar."""
    if clip:
        return nn.utils.clip_grad_norm_(module.parameters(), clip)
    return nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])


def of(part: str, name: str) -> str:
    """What a number of a part is called in the log."""
    return name if part == "model" else f"{part}/{name}"


@contextmanager
def own_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers of its own inside, the same each time; those of training go on afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield
