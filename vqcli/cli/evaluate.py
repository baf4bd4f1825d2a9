"""``vqcli evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcli.cli.groups import CHOOSING, COMPUTING, READING, Before, Group
from vqcli.cli.options import (
    LpipsOpt,
    SamplingOpt,
    SizeOpt,
    complete_model,
    forcing,
    option,
    parse_pixels,
    parse_sampling,
)
from vqcli.cli.output import UNCLEAN, Out
from vqcli.cli.text import fields, rejections
from vqcli.jobs.evaluation.options import EvaluateOptions

if TYPE_CHECKING:
    from vqcli.jobs.evaluation.result import EvaluateResult


def complete_protocol() -> list[str]:
    """Names of protocols, for the shell."""
    from vqcli.metrics.protocols import PROTOCOLS

    return list(PROTOCOLS)


def _asked(metrics: str = "", sampling: Sequence[str] = (), **given: Any) -> EvaluateOptions:
    names = [name.strip().replace("-", "_") for name in metrics.split(",") if name.strip()]
    return EvaluateOptions(metrics=names, sampling=parse_sampling(sampling), **given)


ASKED = Group(
    EvaluateOptions,
    {
        "target": Annotated[
            str,
            typer.Argument(metavar="TARGET", help="A tokenizer, a generator, a classifier, or images."),
        ],
        "images": Annotated[
            str | None,
            option(
                "--images",
                metavar="IMAGES",
                help="Images that a tokenizer reconstructs, whose classes a classifier tells (also their "
                "tokens), or that others are compared with (also an .npz of ADM's).",
            ),
        ],
        "paired": Annotated[
            bool,
            option("--paired", help="Compare images of TARGET and --images one by one: PSNR, SSIM, LPIPS."),
        ],
        "protocol": Annotated[
            str,
            option(
                "--protocol",
                metavar="NAME",
                help="Whose way to measure (vqcli list protocols).",
                autocompletion=complete_protocol,
            ),
        ],
        "metrics": Annotated[
            str | None,
            option(
                "--metrics",
                metavar="NAMES",
                help="Names with commas between them: psnr,ssim,usage.",
                default="the protocol's",
            ),
        ],
        "samples": Annotated[
            int, option("--samples", "-n", min=2, metavar="N", help="Images that a generator makes.")
        ],
        "sampling": SamplingOpt,
        "seed": Annotated[
            int, option("--seed", min=0, metavar="N", help="Decides a generator's classes and images.")
        ],
        "tokenizer": Annotated[
            str | None,
            option(
                "--tokenizer",
                metavar="MODEL",
                help="Decodes what a generator makes, or makes the tokens that a classifier looks at.",
                default="the model's own",
                autocompletion=complete_model,
            ),
        ],
        "record": Annotated[
            bool, option("--record", help="Write the numbers into the tokenizer's usage.json and card, too.")
        ],
        "statistics": Annotated[
            Path | None,
            option(
                "--statistics",
                metavar="FILE",
                help="Also write the Inception statistics of what was measured, for a later --images.",
            ),
        ],
        "lpips_weights": LpipsOpt,
        "inception_weights": Annotated[
            Path | None,
            option(
                "--inception-weights",
                metavar="PATH",
                help="Weights of the FID network, found as those of LPIPS.",
            ),
        ],
        "random_networks": Annotated[bool, typer.Option("--random-networks", hidden=True)],
        "size": SizeOpt,
        "eval_size": Annotated[
            Any,
            option(
                "--eval-size",
                parser=parse_pixels,
                metavar="N|HxW",
                help="Resize images, and what a model made of them, to this before they are compared.",
            ),
        ],
        **CHOOSING,
        **COMPUTING,
        **READING,
    },
    _asked,
)
"""What is measured, of what, and against what."""


def evaluate(
    out: Out,
    options: Annotated[EvaluateOptions, ASKED],
    out_folder: Annotated[
        Path | None,
        option(
            "--out", "-o", metavar="DIR", help="Also write the numbers, a line for every image, and pictures."
        ),
        Before("samples"),
    ] = None,
    force: Annotated[bool, forcing("Replace what is at -o and --statistics.")] = False,
) -> None:
    """Measure how good reconstructions, samples, classes or images are. The same command continues a job.

    Example: vqcli evaluate runs/demo --images photos/ --metrics psnr,ssim,usage -o evaluation
    """
    from vqcli.jobs.evaluation.evaluate import evaluate as run

    asked = replace(options, few_images=force)
    result = run(asked, out_folder, force=force, progress=out.progress())
    numbers = {name: "nan" if value is None else value for name, value in result.results.items()}
    essential = "\n".join(f"{name} {value}" for name, value in numbers.items())
    out.result(result, lambda: _text(result), essential=essential)
    for written in filter(None, (out_folder, options.statistics)):
        out.say(f"wrote {written}")
    if result.unmeasured:
        out.warn(f"not measured: {', '.join(result.unmeasured)}")
    alone = [len(keys) for keys in result.unmatched.values()]
    if any(alone):
        out.warn(f"images without a partner were left out: {alone[0]:,} measured, {alone[1]:,} of --images")
    if result.classes:
        out.warn(f"classes differ: {result.classes}")
    if result.random_networks:
        out.warn(f"{', '.join(result.networks)} had random weights: what they measured means nothing")
    out.warn_rejected(result.rejected)
    if any(alone) and alone[0]:
        raise typer.Exit(UNCLEAN)


def _text(result: EvaluateResult) -> str:
    shown = fields(result.rows(), f"{result.kind} {result.target}")
    return "\n".join([shown, *rejections(result.rejected)])
