"""The five lines that a run begins with: what is trained, on what, into which tokens, where, and whereto."""

from __future__ import annotations

import torch

from vqcli.cores import crowded, free_cores
from vqcli.jobs.options import TrainOptions
from vqcli.jobs.train_asked import recipe_name
from vqcli.training.auto import open_sizes
from vqcli.training.loop import Trainer
from vqcli.training.recipe import recipe_keys

FLAGS = {"data.size": "--size", "tokenizer.codebook.size": "--codes"}


def head(trainer: Trainer, options: TrainOptions) -> list[str]:
    """Recipe, data, tokens, model and folder, a line each; behind them what is to be known of the images."""
    lines = {
        "recipe": _recipe(trainer, options),
        "data": _data(trainer),
        "tokens": trainer.task.outline() + _chosen(trainer, options),
        "model": _model(trainer),
        "folder": str(trainer.run.folder),
    }
    told = [f"{trainer.recipe.data.source}: {line}" for line in trainer.data.told.lines()]
    return [*(f"{name:8}{text}" for name, text in lines.items() if text), *told, *_cores(trainer)]


def _recipe(trainer: Trainer, options: TrainOptions) -> str:
    name = trainer.run.recipe_file if options.resume else recipe_name(options)
    batch = trainer.recipe.training.batch_size
    times = trainer.steps * batch / trainer.data.images
    steps = f"{trainer.steps:,} step{'s' * (trainer.steps > 1)}"
    return f"{name}: {steps} of {batch:,} images, each image about {times:.3g} times"


def _data(trainer: Trainer) -> str:
    data, config = trainer.data, trainer.recipe.data
    bad = len(trainer.rejected)
    classes = f" of {len(data.classes):,} classes" if data.classes else ""
    rejected = f", {bad:,} rejected so far" if bad else ""
    left = sum(data.told.left_out.values())
    left_out = f", {left:,} left out" if left else ""
    return (
        f"{config.source}: {data.images + data.held:,} images{classes} found{left_out}{rejected}; "
        f"{data.images:,} to train on, {data.held:,} held out"
    )


def _chosen(trainer: Trainer, options: TrainOptions) -> str:
    """Which sizes the images decided."""
    if options.resume:
        return ""
    flags = [FLAGS[path] for path in open_sizes(recipe_keys(recipe_name(options), options.settings))]
    return f" (chosen from the images, unless you give {' and '.join(flags)})" if flags else ""


def _model(trainer: Trainer) -> str:
    parts = {name: sum(p.numel() for p in module.parameters()) for name, module in trainer.modules.items()}
    told = [f"{n:,} parameters" if name == "model" else f"{n:,} of the {name}" for name, n in parts.items()]
    accelerator, precision = trainer.accelerator, trainer.recipe.training.precision
    where = _device_in_words(accelerator.device)
    if accelerator.num_processes > 1:
        where = f"{accelerator.num_processes} processes, each on {where}"
    return f"{' and '.join(told)}; {where}, {precision}"


def _cores(trainer: Trainer) -> list[str]:
    """A word where other processes keep cores busy that this one counts on."""
    threads, accelerator = torch.get_num_threads(), trainer.accelerator
    if threads == 1 or accelerator.device.type != "cpu" or accelerator.num_processes > 1:
        return []
    told = crowded(threads, free_cores())
    return [told] if told else []


def _device_in_words(device: torch.device) -> str:
    """``cpu (2 threads)``, ``NVIDIA H200 (cuda:0)``."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    threads = torch.get_num_threads()
    return f"cpu ({threads} thread{'s' if threads > 1 else ''})" if device.type == "cpu" else str(device)
