"""``vqcli prune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqcli.cli.groups import COUNTED, Before
from vqcli.cli.options import forcing, option
from vqcli.cli.output import Out
from vqcli.cli.text import rejections
from vqcli.jobs.options import ImageOptions, PruneOptions

if TYPE_CHECKING:
    from vqcli.jobs.prune import PruneResult


def prune(
    out: Out,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder or run.")],
    out_dir: Annotated[Path, option("--out", "-o", metavar="DIR", help="Folder for the new model.")],
    images: Annotated[ImageOptions | None, COUNTED],
    tokens: Annotated[
        list[Path] | None,
        option(
            "--tokens",
            metavar="TOKENS",
            help="Count these, which the model made, and write them anew as NAME-pruned; may repeat.",
        ),
        Before("size"),
    ] = None,
    min_count: Annotated[
        int,
        option(
            "--min-count",
            min=1,
            metavar="N",
            help="Uses from which a code is kept; more than 1 changes tokens, so only with --images.",
        ),
        Before("size"),
    ] = 1,
    force: Annotated[bool, forcing("Replace results that are there; count tokens of another model.")] = False,
) -> None:
    """Drop the codes that nothing uses, and renumber tokens. If all are used, nothing is written.

    Example: vqcli prune runs/demo -o pruned/ --tokens tokens.npy
    """
    from vqcli.jobs.prune import prune as run

    options = PruneOptions(images, tuple(tokens or ()), min_count, force)
    result = run(model, out_dir, options, out.progress())
    out.result(result, lambda: _text(result), essential=result.out or result.model)
    out.warn_rejected(result.rejected)


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
    bad = rejections(result.rejected)
    return "\n".join(lines + bad)
