"""``vqcli train``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcli.cli.catalog import complete_recipe
from vqcli.cli.groups import Group
from vqcli.cli.options import (
    DeviceOpt,
    ImageColumnOpt,
    LabelColumnOpt,
    LpipsOpt,
    OutOpt,
    Precision,
    SettingsOpt,
    SplitOpt,
    complete_model,
    option,
    size_option,
)
from vqcli.cli.output import UNCLEAN, Out
from vqcli.jobs.options import TrainOptions

if TYPE_CHECKING:
    from vqcli.jobs.train import TrainResult


KEYS = {
    "init": "init",
    "tokenizer": "tokenizer",
    "data": "data.source",
    "split": "data.split",
    "image_column": "data.image_column",
    "label_column": "data.label_column",
    "size": "data.size",
    "steps": "training.steps",
    "batch_size": "training.batch_size",
    "lr": "optimizer.lr",
    "num_workers": "data.num_workers",
    "seed": "seed",
    "precision": "training.precision",
    "compile": "training.compile",
}
"""Flags that are keys of the recipe."""


ITS_OWN = "the recipe's"
"""What holds where a flag that is a key of the recipe is not given."""


def _asked(settings: Sequence[str] = (), **given: Any) -> TrainOptions:
    if given["resume"] and given.get("init"):
        raise typer.BadParameter("--init starts a new run, --resume continues one: leave one away")
    absolute = ["optimizer.lr_batch=null"] if "lr" in given else []  # the rate as typed, whatever the batch
    keys = [f"{KEYS[name]}={_yaml(given.pop(name))}" for name in KEYS if name in given]
    return TrainOptions(settings=[*settings, *keys, *absolute], **given)


def _yaml(value: str | float | tuple[int, int]) -> str:
    from vqcli.yaml_text import quoted

    if isinstance(value, tuple):
        return str(value[0] if value[0] == value[1] else list(value))
    return quoted(value) if value and isinstance(value, str) else str(value).lower()


def parse_steps(text: str) -> int | str:
    """``1000``, or ``40 epochs``. Raises BadParameter."""
    match = re.fullmatch(r"([1-9]\d*)|(\d+(?:\.\d+)?) ?(steps|epochs)", text)
    if not match:
        raise typer.BadParameter(f"{text!r} is neither a number of steps nor like '40 epochs'")
    return int(match[1]) if match[1] else f"{match[2]} {match[3]}"


def parse_rate(text: str) -> float:
    """A learning rate: ``5e-4``. Raises BadParameter."""
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise typer.BadParameter(f"{text!r} is no learning rate: a number above 0, such as 5e-4")
    return rate


ASKED = Group(
    TrainOptions,
    {
        "recipe": Annotated[
            str | None,
            typer.Argument(
                metavar="RECIPE",
                help="A shipped recipe or a YAML file; with --resume a run.",
                autocompletion=complete_recipe,
            ),
        ],
        "data": Annotated[
            str | None,
            option(
                "--data",
                metavar="IMAGES",
                help="Images to train on; for a generator or classifier also tokens, or latents.",
            ),
        ],
        "tokenizer": Annotated[
            str | None,
            option(
                "--tokenizer",
                metavar="MODEL",
                help="Of a generator or classifier: the tokenizer whose tokens it learns.",
                autocompletion=complete_model,
            ),
        ],
        "split": SplitOpt,
        "image_column": ImageColumnOpt,
        "label_column": LabelColumnOpt,
        "size": size_option("Size of the images in pixels.", default="the recipe's"),
        "codes": Annotated[
            int | None, option("--codes", min=1, metavar="K", help="Entries of the codebook.")
        ],
        "steps": Annotated[
            Any,
            option("--steps", parser=parse_steps, metavar="N", help="Optimizer steps, or '40 epochs'."),
        ],
        "batch_size": Annotated[
            int | None, option("--batch-size", "-b", min=1, metavar="N", help="Images of a step.")
        ],
        "lr": Annotated[Any, option("--lr", parser=parse_rate, metavar="RATE", help="Peak learning rate.")],
        "out": OutOpt,
        "resume": Annotated[
            bool, option("--resume", help="Continue a run: the one named, or the newest unfinished.")
        ],
        "init": Annotated[
            str | None,
            option(
                "--init",
                metavar="MODEL",
                help="Start from the weights of a model folder, a run or a checkpoint.",
                autocompletion=complete_model,
            ),
        ],
        "settings": SettingsOpt,
        "lpips_weights": LpipsOpt,
        "seed": Annotated[
            int | None,
            option("--seed", min=0, metavar="N", help="Decides everything random.", default=ITS_OWN),
        ],
        "device": DeviceOpt,
        "precision": Annotated[
            Precision | None,
            option("--precision", help="Number format of the computation (autocast).", default=ITS_OWN),
        ],
        "compile": Annotated[
            bool | None,
            option("--compile", help="Compile the networks: slow to begin, then faster."),
        ],
        "num_workers": Annotated[
            int | None,
            option("--num-workers", min=0, metavar="N", help="Processes that read images.", default=ITS_OWN),
        ],
        "trackers": Annotated[
            list[str] | None,
            option("--track", metavar="NAME", help="Also log to tensorboard, wandb or trackio; may repeat."),
        ],
        "accept_changes": Annotated[
            bool,
            option("--accept-changes", help="With --resume: go on though data, versions or threads changed."),
        ],
    },
    _asked,
)
"""A run, and what differs in it from its recipe."""


def train(out: Out, options: Annotated[TrainOptions, ASKED]) -> None:
    """Train a tokenizer, or what learns from its tokens. Without a recipe: photos on --data, else the demo.

    Example: vqcli train --data photos/ --steps 1000

    Example: vqcli train fvq-cifar10 --data 'cifar10/train-*.parquet' --set training.log_every=10

    Example: vqcli train gpt-b --data tokens.npy --tokenizer llamagen-vq16
    """
    from vqcli.jobs.train import train as run

    result = run(options, out.progress())
    out.result(result, lambda: _text(result), essential=result.model)
    if result.rejected:
        raise typer.Exit(UNCLEAN)


def _text(result: TrainResult) -> str:
    lines = [f"{result.model}  {result.steps:,} steps{_time(result)}", *result.summary]
    if result.rejected:
        lines.append(f"{result.rejected} images were rejected")
    if result.pictures:
        lines.append(f"look at {' and '.join(map(str, result.pictures))}")
    lines.append(f"Next: {result.next}")
    return "\n".join(lines)


def _time(result: TrainResult) -> str:
    """Of all sittings, as far as it is known."""
    from vqcli.training.words import minutes

    if result.total_seconds is None:
        return f", the last of them in {minutes(result.seconds)}" if result.sittings > 1 else ""
    several = f" over {result.sittings} sittings" if result.sittings > 1 else ""
    return f" in {minutes(result.total_seconds)}{several}"
