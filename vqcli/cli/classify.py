"""``vqcli classify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqcli.cli.groups import CHOOSING, COMPUTING, READING, Before, Group
from vqcli.cli.options import MODEL, ImagesArg, complete_model, forcing, option
from vqcli.cli.output import Out
from vqcli.cli.text import counted, rejections, table
from vqcli.jobs.options import ClassifyOptions

if TYPE_CHECKING:
    from vqcli.jobs.classify import ClassifyResult

CLASSIFIED = Group(
    ClassifyOptions,
    {
        "classifier": Annotated[str, typer.Argument(metavar="CLASSIFIER", help=f"{MODEL}.")],
        "images": ImagesArg,
        "top": Annotated[
            int,
            option("--top", min=1, metavar="N", help="Classes that are told of an image, likeliest first."),
        ],
        "tokenizer": Annotated[
            str | None,
            option(
                "--tokenizer",
                metavar="MODEL",
                help="Makes tokens of the images.",
                default="the classifier's own",
                autocompletion=complete_model,
            ),
        ],
        **CHOOSING,
        **COMPUTING,
        **READING,
    },
)
"""Images whose classes are told."""


def classify(
    out: Out,
    options: Annotated[ClassifyOptions, CLASSIFIED],
    out_file: Annotated[
        Path,
        option("--out", "-o", metavar="FILE", help="The likeliest classes, a line an image: .csv or .jsonl."),
        Before("top"),
    ] = Path("predictions.csv"),
    force: Annotated[bool, forcing("Replace predictions that are there, and those of another job.")] = False,
) -> None:
    """Tell the classes of images, and how likely each is. The same command continues.

    Example: vqcli classify runs/classify-demo photos/ -o predictions.csv --top 3
    """
    from vqcli.jobs.classify import classify as run

    result = run(options, out_file, force=force, progress=out.progress())
    out.result(result, lambda: _text(result), essential=result.out)
    out.warn_rejected(result.rejected)


def _text(result: ClassifyResult) -> str:
    what = f"{counted(result.images, 'image')}, {result.classes:,} classes"
    if result.images_per_second:
        what += f", {result.images_per_second:,.1f} images/s"
    rows = []
    for line in result.first:
        best = line["predictions"][0]
        rows.append((line["key"], best["name"] or f"class {best['class']}", f"{best['probability']:.1%}"))
    more = result.images - len(rows)
    lines = [f"{result.out}  {what}, model {result.model}", table(("", "", ""), rows, "  ")]
    lines += [f"  and {more:,} more"] if more else []
    return "\n".join(lines + rejections(result.rejected, f"rejected, all in {result.out}"))
