"""A training step with everything on: vqcli's trainer against a plain loop of the same modules.

    python benchmarks/train_step.py                      # VQ-16, 128 pixels, batch 2
    python benchmarks/train_step.py --adaptive --size 256 --batch-size 16 --device cuda

Everything: L2, LPIPS (VGG16, with dropout), the quantizer's losses, a PatchGAN of 3 layers with hinge losses,
two Adams, gradients clipped at 1; with --adaptive VQGAN's adaptive weight. The trainer does what it does in
``vqcli train``: its checks, counts and lines of the log are timed too. The plain loop is PyTorch as published
code has it; it too leaves the discriminator's weights out of the tokenizer's backward pass. Both start from
the same weights and are given the same images, which were read before.
Time: medians of steps made in turns, in one process. Memory: the peak of a process of its own each.
LPIPS's weights are random: speed does not depend on them. Measure on an idle machine.
Shape letters: B images, H, W sides in pixels.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from vqcli import files
from vqcli.jobs.devices import pick_device
from vqcli.jobs.options import TrainOptions
from vqcli.jobs.train import begin, make_trainer, prepare_run
from vqcli.nn.lpips import Lpips
from vqcli.pixels import normalize
from vqcli.training.accelerator import end, make_accelerator
from vqcli.training.loop import Trainer
from vqcli.types import silent

RECIPE = "llamagen-vq16"
WARM, BATCHES = 2, 4
"""Steps of each before the clock starts, and different batches."""
LOOPS = ("plain", "vqcli")


class Plain:
    """The step as it is written out by hand."""

    def __init__(self, trainer: Trainer, *, adaptive: bool) -> None:
        """Takes the trainer's modules and numbers, not its optimizers."""
        config, game = trainer.recipe.optimizer, trainer.recipe.adversarial
        self.tokenizer, self.discriminator = trainer.modules["model"], trainer.modules["discriminator"]
        self.lpips, self.adaptive = trainer.task.objective.lpips, adaptive
        self.weight, self.discriminator_weight = game.weight, game.discriminator_weight
        self.clip, self.device = config.clip, trainer.accelerator.device
        self.adams = [
            torch.optim.Adam(module.parameters(), config.lr, config.betas, config.eps)
            for module in (self.tokenizer, self.discriminator)
        ]

    def step(self, images: Tensor) -> None:
        """One step of both, on images (B, 3, H, W) in [-1, 1]."""
        images = images.to(self.device)
        reconstruction, quantized = self.tokenizer(images)
        compared = F.mse_loss(reconstruction, images) + self.lpips(reconstruction, images).mean()
        self.discriminator.requires_grad_(False)
        against = -self.discriminator(reconstruction).mean()
        self.discriminator.requires_grad_(True)
        weight = self.weight * (self.balance(compared, against) if self.adaptive else 1)
        self.apply(0, self.tokenizer, compared + weight * against + sum(quantized.losses.values()))

        real, fake = self.discriminator(images), self.discriminator(reconstruction.detach())
        hinge = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
        self.apply(1, self.discriminator, self.discriminator_weight * hinge)

    def balance(self, compared: Tensor, against: Tensor) -> Tensor:
        """VQGAN's adaptive weight, as its published code finds it."""
        last = self.tokenizer.last_layer
        one = torch.autograd.grad(compared, last, retain_graph=True)[0]
        other = torch.autograd.grad(against, last, retain_graph=True)[0]
        return (one.norm() / (other.norm() + 1e-4)).clamp(0.0, 1e4).detach()

    def apply(self, part: int, module: nn.Module, loss: Tensor) -> None:
        """Backward, clip and step."""
        self.adams[part].zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), self.clip)
        self.adams[part].step()


def random_lpips(path: Path) -> None:
    """Write a file of weights with the published keys."""
    network = Lpips("vgg")
    for name, weight in network.named_parameters():
        fan_in = weight[0].numel()
        nn.init.normal_(weight, std=(2 / fan_in) ** 0.5) if name.endswith("weight") else nn.init.zeros_(
            weight
        )
    files.write_tensors(
        path, {name: x.abs() if "lin" in name else x for name, x in network.state_dict().items()}
    )


@contextmanager
def make(options: argparse.Namespace, *settings: str) -> Iterator[tuple[Trainer, list[Any]]]:
    """A trainer that has not begun, and batches that are read."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "lpips.safetensors")
        random_lpips(weights)
        given = [
            f"data.source=demo:{BATCHES * options.batch_size}",
            "data.holdout=0",
            f"data.size={options.size}",
            "data.num_workers=0",
            f"tokenizer.network={options.network}",
            f"losses.perceptual={json.dumps({'weight': 1.0, 'weights': str(weights)})}",
            f"adversarial.adaptive={json.dumps(options.adaptive)}",
            "adversarial.disc_start=0",
            "training.precision=fp32",
            f"training.batch_size={options.batch_size}",
            "training.log_every=50",
            "training.steps=1000000000",
            "training.checkpoint_every=1000000000",
        ]
        asked = TrainOptions(RECIPE, Path(folder, "run"), settings=[*given, *settings], device=options.device)
        run, recipe = prepare_run(asked)
        accelerator = make_accelerator(recipe, run, pick_device(options.device), ())
        trainer = make_trainer(recipe, run, accelerator, silent)
        begin(trainer, asked, silent)
        try:
            yield trainer, list(islice(trainer.data.train(0), BATCHES))
        finally:
            end(accelerator)


def loop_of(name: str, trainer: Trainer, batches: list[Any], *, adaptive: bool) -> Callable[[], None]:
    """What makes the next step of a loop; the plain one takes the trainer's modules for its own."""
    if name == "plain":
        plain, images = Plain(trainer, adaptive=adaptive), cycle([normalize(b.stacked()) for b in batches])
        return lambda: plain.step(next(images))
    loaded = cycle(batches)

    def step() -> None:
        trainer.train_step(loaded)
        trainer.step += 1
        trainer.after_step([])

    return step


def twin(trainer: Trainer) -> Trainer:
    """The same trainer with modules of its own that have the same weights, but for the frozen LPIPS."""
    other = copy.copy(trainer)
    other.modules = copy.deepcopy(trainer.modules)
    return other


def timed(steps: dict[str, Callable[[], None]], count: int, device: str) -> dict[str, list[float]]:
    """Seconds of so many steps of each, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(WARM + count):
        turn = list(steps.items())
        for name, step in turn[::-1] if index % 2 else turn:  # neither always follows the other
            torch.manual_seed(index)
            start = time.perf_counter()
            step()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: spent[WARM:] for name, spent in seconds.items()}


def peak(name: str, options: argparse.Namespace) -> int:
    """Most bytes that this process held over a few steps of one loop; on a GPU, of its memory."""
    with make(options) as (trainer, batches):
        timed({name: loop_of(name, trainer, batches, adaptive=options.adaptive)}, 2, options.device)
    if options.device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_in_child(name: str, arguments: list[str]) -> int:
    """``peak`` in a fresh process."""
    command = [sys.executable, __file__, *arguments, "--child", name]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def compare(options: argparse.Namespace, arguments: list[str]) -> dict[str, Any]:
    """All measurements; ratios are of vqcli to the plain loop."""
    load = os.getloadavg()[0]
    with make(options) as (trainer, batches):
        own = {"plain": twin(trainer), "vqcli": trainer}
        loops = {name: loop_of(name, own[name], batches, adaptive=options.adaptive) for name in LOOPS}
        seconds = timed(loops, options.steps, options.device)
    medians = {name: statistics.median(spent) for name, spent in seconds.items()}
    peaks = {name: peak_in_child(name, arguments) for name in LOOPS}
    return {
        "settings": {key: value for key, value in vars(options).items() if key not in ("json", "child")},
        "lpips_weights": "random",
        "load_before": load,
        "seconds": medians,
        "quartiles": {name: statistics.quantiles(spent, n=4)[::2] for name, spent in seconds.items()},
        "seconds_ratio": medians["vqcli"] / medians["plain"],
        "peak_bytes": peaks,
        "peak_ratio": peaks["vqcli"] / peaks["plain"],
    }


def show(result: dict[str, Any]) -> None:
    """A table on stdout."""
    asked = result["settings"]
    weight = "adaptive" if asked["adaptive"] else "constant"
    print(
        f"{asked['network']} at {asked['size']} pixels, batch {asked['batch_size']}, float32 on "
        f"{asked['device']} ({asked['threads']} threads, load {result['load_before']:.1f} before);"
    )
    print(
        f"LPIPS with random weights, PatchGAN, {weight} adversarial weight; {asked['steps']} steps of each, "
        "in turns"
    )
    print("loop     median s   quartiles s       ratio   peak MiB  ratio")
    for name in LOOPS:
        low, high = result["quartiles"][name]
        ratios = [result[key] if name == "vqcli" else 1 for key in ("seconds_ratio", "peak_ratio")]
        print(
            f"{name:<7} {result['seconds'][name]:9.4f}  {low:8.4f}-{high:8.4f} {ratios[0]:6.3f} "
            f"{result['peak_bytes'][name] / 2**20:10.0f} {ratios[1]:6.3f}"
        )


def main(arguments: list[str]) -> None:
    """Measure and print."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--size", type=int, default=128, help="pixels a side")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10, help="of each loop")
    parser.add_argument("--network", default="vq-16")
    parser.add_argument("--adaptive", action="store_true", help="with the adaptive weight")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.add_argument("--child", choices=LOOPS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.child:
        print(peak(options.child, options))
        return
    result = compare(options, arguments)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


if __name__ == "__main__":
    main(sys.argv[1:])
