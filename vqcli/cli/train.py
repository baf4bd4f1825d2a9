"""``vqcli train``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vqcli.cli.catalog import complete_recipe
from vqcli.cli.options import DeviceOpt, LpipsOpt, OutOpt, Precision, SplitOpt, complete_model
from vqcli.cli.output import Out

if TYPE_CHECKING:
    from vqcli.jobs.train import TrainResult


def train(
    out: Out,
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A shipped recipe or a YAML file; with --resume a run.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="IMAGES", help="Images to train on; for a generator also tokens."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            metavar="MODEL",
            help="Of a generator: the tokenizer whose tokens it learns.",
            autocompletion=complete_model,
        ),
    ] = None,
    split: SplitOpt = None,
    out_dir: OutOpt = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run: the one named, or the newest unfinished.")
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="MODEL",
            help="Start from the weights of a model folder, a run or a checkpoint.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=value", help="Override a key of the recipe; may repeat."),
    ] = None,
    lpips_weights: LpipsOpt = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="N", help="Fixes everything random.")
    ] = None,
    device: DeviceOpt = None,
    precision: Annotated[
        Precision | None, typer.Option("--precision", help="Autocast of the networks.")
    ] = None,
    compile_networks: Annotated[
        bool, typer.Option("--compile", help="Compile the networks: slow first steps, faster others.")
    ] = False,
    num_workers: Annotated[
        int | None, typer.Option("--num-workers", min=0, metavar="N", help="Processes that read images.")
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option("--track", metavar="NAME", help="Also log to tensorboard, wandb or trackio."),
    ] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Resume though data, versions or threads changed.")
    ] = False,
) -> None:
    """Train a tokenizer, or a generator on its tokens. Without a recipe: the demo, on drawn images.

    Example: vqcli train fvq-cifar10 --data 'cifar10/train-*.parquet' --set training.steps=800

    Example: vqcli train gpt-b --data tokens.npy --tokenizer llamagen-vq16
    """
    from vqcli.config import quoted
    from vqcli.jobs.train import TrainOptions
    from vqcli.jobs.train import train as run

    if resume and init:
        raise typer.BadParameter("--init starts a new run, --resume continues one: leave one away")
    given = {
        "init": init and quoted(init),
        "tokenizer": tokenizer and quoted(tokenizer),
        "data.source": data and quoted(data),
        "data.split": split and quoted(split),
        "data.num_workers": num_workers,
        "seed": seed,
        "training.precision": precision.value if precision else None,
        "training.compile": "true" if compile_networks else None,
    }
    flags = [f"{key}={value}" for key, value in given.items() if value is not None]
    options = TrainOptions(
        recipe=recipe,
        out=out_dir,
        resume=resume,
        settings=[*(settings or []), *flags],
        device=device,
        trackers=list(track or []),
        accept_changes=accept_changes,
        lpips_weights=lpips_weights,
    )

    result = run(options, out.progress())
    out.result(result, lambda: _text(result), essential=result.model)
    if result.rejected:
        raise typer.Exit(3)


def _text(result: TrainResult) -> str:
    lines = [f"{result.model}  {result.steps:,} steps in {_minutes(result.seconds)}", *result.summary]
    if result.rejected:
        lines.append(f"{result.rejected} images were rejected")
    lines.append(f"Next: vqcli {result.use} -m {result.run}")
    return "\n".join(lines)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
