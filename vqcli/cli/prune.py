"""``vqcli prune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqcli.cli.options import (
    BatchSizeOpt,
    DeviceOpt,
    ForceOpt,
    LimitOpt,
    Precision,
    PrecisionOpt,
    SizeOpt,
    SplitOpt,
    StrictOpt,
    WorkersOpt,
)
from vqcli.cli.output import Out
from vqcli.cli.text import listed

if TYPE_CHECKING:
    from vqcli.jobs.prune import PruneResult


def prune(
    out: Out,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder or run.")],
    out_dir: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the new model.")],
    images: Annotated[
        str | None, typer.Option("--images", metavar="IMAGES", help="Encode these and count.")
    ] = None,
    tokens: Annotated[
        list[Path] | None,
        typer.Option(
            "--tokens",
            metavar="TOKENS",
            help="Count these, which the model made, and write them anew as NAME-pruned; may repeat.",
        ),
    ] = None,
    min_count: Annotated[
        int,
        typer.Option(
            "--min-count",
            min=1,
            metavar="N",
            help="Uses that keep a code; more than 1 changes tokens, and goes with --images alone.",
        ),
    ] = 1,
    size: SizeOpt = None,
    split: SplitOpt = None,
    limit: LimitOpt = None,
    batch_size: BatchSizeOpt = 32,
    device: DeviceOpt = None,
    precision: PrecisionOpt = Precision.fp32,
    num_workers: WorkersOpt = 2,
    strict: StrictOpt = False,
    force: ForceOpt = False,
) -> None:
    """Drop unused codes and renumber tokens. What is counted decides; if all are used, nothing is written.

    Example: vqcli prune runs/demo -o pruned/ --tokens tokens.npy
    """
    from vqcli.jobs.prune import PruneOptions
    from vqcli.jobs.prune import prune as run

    encoded = None
    if images is None and (size or split or limit):
        raise typer.BadParameter("--size, --split and --limit choose among --images, which are not given")
    if images is not None:
        from vqcli.jobs.encoder import ImageOptions

        encoded = ImageOptions(
            images=images,
            size=size,
            split=split,
            limit=limit,
            batch_size=batch_size,
            device=device,
            precision=precision.value,
            num_workers=num_workers,
            strict=strict,
        )
    options = PruneOptions(encoded, tuple(tokens or ()), min_count, force)
    result = run(model, out_dir, options, out.progress())
    out.result(result, lambda: _text(result), essential=result.out or result.model)
    if result.rejected:
        out.warn(f"{len(result.rejected):,} inputs were rejected")
        raise typer.Exit(3)


def _text(result: PruneResult) -> str:
    if result.out:
        lines = [f"{result.out}  {result.kept:,} of {result.codes:,} codes, model {result.model}"]
    else:
        often = f"{result.min_count:,} times or more" if result.min_count > 1 else "used"
        lines = [
            f"all {result.codes:,} codes of {result.model} are {often}: nothing to drop, nothing written"
        ]
    lines += [f"counted over {result.tokens:,} tokens:", *(f"  {what}" for what in result.counted_on)]
    lines += [f"{path}  tokens with their new numbers" for path in result.renumbered]
    bad = listed("rejected", [f"{r['key']}: {r['reason']}" for r in result.rejected])
    return "\n".join(lines + bad)
