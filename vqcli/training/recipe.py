"""Recipes: everything a run needs to know, in one YAML file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from vqcli import files
from vqcli.config import MOST, PartConfig, merged, parse
from vqcli.data.config import DataConfig
from vqcli.errors import VqcliError
from vqcli.plugins import require
from vqcli.recipes import recipe_text
from vqcli.registry import part_name, resolve
from vqcli.training.auto import settled
from vqcli.yaml_text import override, parse_yaml, quoted, read_yaml


def _check_duration(value: int | str) -> int | str:
    if isinstance(value, str) and not re.fullmatch(r"\d{1,12}(\.\d{1,12})? (steps|epochs)", value):
        raise ValueError("a duration is a number of steps, or like '40 epochs'")
    if isinstance(value, int) and not 0 <= value <= MOST:
        raise ValueError(f"a duration is not negative, and at most {MOST}")
    return value


Duration = Annotated[int | str, AfterValidator(_check_duration)]
"""A number of optimizer steps, or text such as ``40 epochs``."""


def steps_in(duration: int | str, steps_per_epoch: int) -> int:
    """Optimizer steps in a duration."""
    number, _, unit = str(duration).partition(" ")
    return round(float(number) * (steps_per_epoch if unit == "epochs" else 1))


Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(PartConfig):
    """The optimizer of a part."""

    name: Literal["adam", "adamw"] = "adam"
    lr: float = Field(1e-4, gt=0)
    """Peak learning rate."""
    lr_batch: int | None = Field(None, gt=0, le=MOST)
    """Batch size that ``lr`` is meant for; the rate scales linearly with the batch. None: never scaled."""
    codebook_rate: float = Field(1.0, gt=0)
    """Rate of the codebook's own weights over ``lr``. Under Adam a code moves by about its rate in each step,
    whatever its loss is weighted with: a table that starts far from the latents needs more than networks."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Rate of a layer over that of the layer behind it (BEiT, MAE): the last has ``lr``, the one before so
    many times that, and so on. For a part that tells the depth of its layers: a classifier."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    """Decay of all weights with two dimensions or more, codes too; biases and norms are left alone."""
    weight_decay_end: float | None = Field(None, ge=0)
    """What it becomes until the last step, along half a cosine; it stays if not given."""
    clip: float = Field(1.0, ge=0)
    """Largest norm of a part's gradient; 0 leaves gradients as they are."""


class ScheduleConfig(PartConfig):
    """Learning annealing (FVQ, https://arxiv.org/abs/2509.10140): warm up, hold, decay; or drop in steps."""

    decay: Literal["constant", "linear", "cosine", "drops"] = "linear"
    """``drops``: a tenth of the rate after each of ``drops``."""
    drops: tuple[Duration, ...] = ()
    """When the rate drops, counted from the start: ``[250 epochs, 300 epochs]`` for IBQ."""
    warmup: Duration = 0
    start: float = Field(0.005, ge=0, le=1)
    """Factor at step 0."""
    hold: float = Field(0.3, ge=0, lt=1)
    """Share of the steps after warm-up at full rate."""
    floor: float = Field(0.01, ge=0, le=1)
    """Factor at the last step."""

    @model_validator(mode="after")
    def drops_are_used(self) -> ScheduleConfig:
        """Drops and the decay that has them go together."""
        if bool(self.drops) != (self.decay == "drops"):
            raise ValueError("decay: drops needs a list drops, and any other decay needs drops: []")
        return self


class TrainingConfig(PartConfig):
    """How long, in which batches, and what is kept on the way."""

    steps: Duration = "40 epochs"
    batch_size: int = Field(128, ge=1, le=1 << 20)
    """Images of one optimizer step, over all processes and accumulated passes."""
    accumulate: int = Field(1, ge=1, le=MOST)
    """Passes per optimizer step."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Autocast of the networks; weights and codes stay float32."""
    compile: bool = False
    """Compile the networks with ``torch.compile``: the first steps are slow, the others faster."""
    shard: bool = False
    """Spread weights, gradients and moments over the processes (FSDP), where one device is too small."""
    average: float | None = Field(None, gt=0, lt=1)
    """Decay of a running average of the weights, ramped as min(decay, (1+n)/(10+n)); the export takes it."""
    log_every: int = Field(50, ge=1, le=MOST)
    """Steps between lines of ``metrics.jsonl``."""
    sample_every: int = Field(1000, ge=1, le=MOST)
    """Steps between reconstruction grids."""
    validate_every: int = Field(5000, ge=1, le=MOST)
    """Steps between measurements on held-out images."""
    validation_images: int = Field(10_000, ge=1, le=MOST)
    """Most held-out images a measurement uses."""
    checkpoint_every: int = Field(5000, ge=1, le=MOST)
    """Steps between checkpoints."""
    keep: int = Field(2, ge=1, le=MOST)
    """Checkpoints kept."""

    @model_validator(mode="after")
    def shard_fits(self) -> TrainingConfig:
        """Gradients of a spread model are not scaled."""
        if self.shard and self.precision == "fp16":
            raise ValueError("shard does not go with precision: fp16, choose bf16")
        return self


class Recipe(PartConfig):
    """What every task's recipe has; a task adds its own sections."""

    task: str
    seed: int = Field(0, ge=0, lt=1 << 32)
    init: str | None = None
    """Model whose weights the run starts from (``--init``): a model folder, a run, or one of its checkpoints.
    Of a run, its newest checkpoint: there the codebook is not baked. Optimizer and schedule start anew."""
    data: DataConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def batch_divides(self) -> Recipe:
        """Every pass of a step holds equally many images."""
        if self.training.batch_size % self.training.accumulate:
            raise ValueError("training.batch_size must be a multiple of training.accumulate")
        return self


def read_recipe(reference: str, assignments: Sequence[str] = (), lpips_weights: Path | None = None) -> Recipe:
    """The recipe of a shipped name or a YAML file, with overrides. Raises VqcliError naming the wrong key.

    Sizes that it leaves open are chosen from its images, where they are here.
    """
    return parse_recipe(settled(recipe_keys(reference, assignments, lpips_weights)), reference)


def recipe_keys(
    reference: str, assignments: Sequence[str] = (), lpips_weights: Path | None = None
) -> dict[str, Any]:
    """The keys of a recipe, with overrides, unchecked. Raises VqcliError if there is no such recipe.

    ``lpips_weights`` is where the perceptual loss's network lies; it is an error without such a loss.
    """
    raw = override(_keys(reference), map(_of_weight, assignments))
    if lpips_weights is not None:
        losses = raw.get("losses")
        if not isinstance(losses, dict) or "perceptual" not in losses:
            raise VqcliError(
                f"--lpips-weights: {reference} has no perceptual loss",
                hint="leave the flag away"
                + (", or add the loss: --set losses.perceptual=1" if losses else ""),
                reason="config",
            )
        raw = override(raw, [f"losses.perceptual.weights={quoted(str(lpips_weights.absolute()))}"])
    return raw


def _of_weight(assignment: str) -> str:
    """``losses.NAME=1`` means its weight: what else a loss was told stays."""
    return re.sub(r"^(\s*losses\.[^.=\s]+)\s*=(?!\s*\{)", r"\1.weight=", assignment)


def _keys(reference: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The keys of a recipe, over those of the one it ``extends``: a shipped name, or a file beside it."""
    path = Path(reference)
    is_file = path.suffix in (".yaml", ".yml") or files.is_file(path)
    raw = dict(read_yaml(path) if is_file else parse_yaml(recipe_text(reference), reference))
    if isinstance(raw.get("losses"), dict):  # a weight alone is short for a section, which --set may enter
        weights = {name: {"weight": x} for name, x in raw["losses"].items() if not isinstance(x, dict)}
        raw["losses"] = raw["losses"] | weights
    if "extends" not in raw:
        return raw
    base = raw.pop("extends")
    if not isinstance(base, str):
        raise VqcliError(
            f"{reference}: extends names one recipe, not {base}", hint="extends: demo", reason="config"
        )
    if base.endswith((".yaml", ".yml")):
        base = os.path.normpath(path.parent / base)
    if base in (*above, reference):
        raise VqcliError(
            f"{reference}: it extends {base}, which extends it",
            hint="one of them must leave extends out",
            reason="config",
        )
    return merged(_keys(base, (*above, reference)), raw)


def parse_recipe(raw: dict[str, Any], name: str) -> Recipe:
    """The checked recipe of a mapping; ``task`` in it tells which kind, ``plugins`` what must be allowed."""
    require(raw.get("plugins", []), name)
    raw = {key: value for key, value in raw.items() if key != "plugins"}
    if "task" not in raw:
        raise VqcliError(f"{name}: a recipe needs a 'task'", hint="task: tokenizer", reason="config")
    try:
        raw["task"] = part_name("tasks", raw["task"])
        kind = resolve("tasks", raw["task"])
    except VqcliError as e:
        raise VqcliError(f"{name}: {e}", hint=e.hint, reason=e.reason) from e
    recipe: Recipe = parse(kind.Config, raw, name)
    if recipe.training.shard and not kind.SHARDS:
        raise VqcliError(
            f"{name}: training.shard does not spread a {recipe.task}",
            hint="leave it away: every process then holds the whole model",
            reason="config",
        )
    return recipe
