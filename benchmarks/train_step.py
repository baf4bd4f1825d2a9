"""The whole training step: vqcli's trainer against a plain loop of the same modules.

    python benchmarks/train_step.py                                   # all three
    python benchmarks/train_step.py fvq-cifar10 --threads 1 --busy
    python benchmarks/train_step.py llamagen-vq16 --size 256 --batch-size 16 --adaptive --device cuda

The plain loop is PyTorch as published code has it, with torch's default Adam and, for FVQ's recipes, the
published search: |z|^2 + |e|^2 - 2 z.e over all codes, in blocks of vectors whose costs take 256 MiB, since
all of them would take 13 GiB at 262,144 codes. The trainer does what it does in ``vqcli train``: its checks,
counts and lines of the log are timed too. Both start from the same weights and are given the same images,
which were read before.
``llamagen-vq16`` has everything on: L2, LPIPS (VGG16, with dropout, random weights: speed does not depend on
them), the quantizer's losses, a PatchGAN of 3 layers with hinge losses, two Adams, gradients clipped at 1;
with --adaptive VQGAN's adaptive weight. Its plain loop too leaves the discriminator's weights out of the
tokenizer's backward pass.
Shape letters: B images, H, W sides in pixels; N vectors, K codes, D width.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from benchmarks.nearest import in_blocks, published
from benchmarks.side_by_side import against, neighbour, parser, race, report
from vqcli import files
from vqcli.jobs.devices import pick_device
from vqcli.jobs.options import TrainOptions
from vqcli.jobs.train import begin, make_trainer, prepare_run
from vqcli.nn.lpips import Lpips
from vqcli.pixels import normalize
from vqcli.training.accelerator import end, make_accelerator
from vqcli.training.loop import Trainer
from vqcli.types import silent

GAN = "llamagen-vq16"
RECIPES = ("fvq-cifar10", "fvq-262k-cifar10", GAN)
BATCHES = 4
"""Different ones."""
LOOPS = ("plain", "vqcli")


class Plain:
    """The step as it is written out by hand."""

    def __init__(self, trainer: Trainer) -> None:
        """Takes the trainer's modules and numbers, not its optimizers."""
        config, game = trainer.recipe.optimizer, trainer.recipe.adversarial
        self.tokenizer, self.discriminator = trainer.modules["model"], trainer.modules.get("discriminator")
        self.lpips, self.game = trainer.task.objective.lpips, game
        self.clip, self.device = config.clip, trainer.accelerator.device
        self.adams = [
            torch.optim.Adam(module.parameters(), config.lr, config.betas, config.eps)
            for module in trainer.modules.values()
        ]

    def step(self, images: Tensor) -> None:
        """One step of all parts, on images (B, 3, H, W) in [-1, 1]."""
        images = images.to(self.device)
        reconstruction, quantized = self.tokenizer(images)
        compared = F.mse_loss(reconstruction, images)
        if self.lpips:
            compared = compared + self.lpips(reconstruction, images).mean()
        against = self.against(reconstruction, compared) if self.discriminator else 0
        self.apply(0, self.tokenizer, compared + against + sum(quantized.losses.values()))
        if self.discriminator:
            real, fake = self.discriminator(images), self.discriminator(reconstruction.detach())
            hinge = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
            self.apply(1, self.discriminator, self.game.discriminator_weight * hinge)

    def against(self, reconstruction: Tensor, compared: Tensor) -> Tensor:
        """The weighted adversarial loss."""
        assert self.discriminator
        self.discriminator.requires_grad_(False)
        against = -self.discriminator(reconstruction).mean()
        self.discriminator.requires_grad_(True)
        return self.game.weight * (self.balance(compared, against) if self.game.adaptive else 1) * against

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


def settings_of(recipe: str, options: argparse.Namespace, folder: Path) -> list[str]:
    """What a recipe is told to be measured."""
    batch = options.batch_size or (2 if recipe == GAN else 64)
    given = [
        f"data.source=demo:{BATCHES * batch}",
        "data.holdout=0",
        "data.num_workers=0",
        "training.precision=fp32",
        f"training.batch_size={batch}",
        "training.log_every=50",
        "training.steps=1000000000",
        "training.checkpoint_every=1000000000",
    ]
    if recipe != GAN:
        return given
    weights = folder / "lpips.safetensors"
    random_lpips(weights)
    return [
        *given,
        f"data.size={options.size}",
        f"tokenizer.network={options.network}",
        f"losses.perceptual={json.dumps({'weight': 1.0, 'weights': str(weights)})}",
        f"adversarial.adaptive={json.dumps(options.adaptive)}",
        "adversarial.disc_start=0",
    ]


@contextmanager
def make(recipe: str, options: argparse.Namespace, *own: str) -> Iterator[tuple[Trainer, list[Any]]]:
    """A trainer that has not begun, and batches that are read."""
    with tempfile.TemporaryDirectory() as folder:
        given = [*settings_of(recipe, options, Path(folder)), *own]
        asked = TrainOptions(recipe, Path(folder, "run"), settings=given, device=options.device)
        run, read = prepare_run(asked)
        accelerator = make_accelerator(read, run, pick_device(options.device), ())
        trainer = make_trainer(read, run, accelerator, silent)
        begin(trainer, asked, silent)
        try:
            yield trainer, list(islice(trainer.data.train(0), BATCHES))
        finally:
            end(accelerator)


def loop_of(name: str, trainer: Trainer, batches: list[Any]) -> Callable[[], None]:
    """What makes the next step of a loop; the plain one takes the trainer's modules for its own."""
    if name == "plain":
        plain, images = Plain(trainer), cycle([normalize(b.stacked()) for b in batches])
        return lambda: plain.step(next(images))
    loaded = cycle(batches)

    def step() -> None:
        trainer.train_step(loaded)
        trainer.step += 1
        trainer.after_step()

    return step


def twin(trainer: Trainer) -> Trainer:
    """The same trainer with modules of its own that have the same weights, but for the frozen LPIPS."""
    other = copy.copy(trainer)
    other.modules = copy.deepcopy(trainer.modules)
    return other


def published_search(trainer: Trainer) -> Trainer:
    """The trainer, whose codebook now searches as published; holds the costs of a block of vectors."""
    codebook = trainer.modules["model"].quantizer.codebook

    @torch.no_grad()
    def assign(vectors_nd: Tensor, codes_kd: Tensor) -> Tensor:
        return in_blocks(published, vectors_nd, codes_kd)

    codebook.assign = assign
    return trainer


def waiting(step: Callable[[], None], device: str) -> Callable[[], None]:
    """The step until the device has done it."""

    def run() -> None:
        step()
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    return run


def compare(recipe: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step of both loops."""
    with make(recipe, options) as (trainer, batches):
        hand = twin(trainer) if recipe == GAN else published_search(twin(trainer))
        own = {"vqcli": trainer, "plain": hand}
        steps = {name: waiting(loop_of(name, x, batches), options.device) for name, x in own.items()}
        found = race(steps, options.repeats)
        batch = trainer.recipe.training.batch_size
    return {"what": f"{recipe}, batch {batch}, float32 on {options.device}", "rivals": against(found)}


def main() -> None:
    """Measure every recipe."""
    asked = parser(__doc__)
    asked.add_argument("recipes", nargs="*", default=list(RECIPES), help=f"of {', '.join(RECIPES)}")
    asked.add_argument("--batch-size", type=int, help=f"64; 2 for {GAN}")
    asked.add_argument("--size", type=int, default=128, help=f"pixels a side, for {GAN}")
    asked.add_argument("--network", default="vq-16", help=f"for {GAN}")
    asked.add_argument("--adaptive", action="store_true", help=f"with the adaptive weight, for {GAN}")
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--quick", action="store_true", help="fvq-cifar10 alone, small batches")
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    if options.quick:
        options.recipes, options.batch_size, options.repeats = ["fvq-cifar10"], 8, 1
    with neighbour(options.busy):
        report(options, [compare(recipe, options) for recipe in options.recipes])


if __name__ == "__main__":
    main()
