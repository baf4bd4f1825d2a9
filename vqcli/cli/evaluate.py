"""``vqcli evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcli.cli.groups import CHOOSING, COMPUTING, READING, Before, Group
from vqcli.cli.options import (
    ForceOpt,
    LpipsOpt,
    SamplingOpt,
    SizeOpt,
    complete_model,
    option,
    parse_pixels,
    parse_sampling,
)
from vqcli.cli.output import Out
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
            typer.Argument(
                metavar="TARGET", help="A tokenizer, a generator, or images as encode takes them."
            ),
        ],
        "images": Annotated[
            str | None,
            option(
                "--images",
                metavar="IMAGES",
                help="What a tokenizer reconstructs; "
                "what else is measured against: images, or an .npz of ADM's.",
            ),
        ],
        "protocol": Annotated[
            str,
            typer.Option(
                "--protocol",
                metavar="NAME",
                help="Whose way to measure: vqcli list protocols.",
                autocompletion=complete_protocol,
            ),
        ],
        "metrics": Annotated[
            str | None,
            option(
                "--metrics", metavar="NAMES", help="These, with commas: psnr,ssim,usage [the protocol's]."
            ),
        ],
        "samples": Annotated[
            int, typer.Option("--samples", "-n", min=2, metavar="N", help="Images that a generator makes.")
        ],
        "sampling": SamplingOpt,
        "seed": Annotated[
            int, typer.Option("--seed", min=0, metavar="N", help="Of a generator's classes and images.")
        ],
        "tokenizer": Annotated[
            str | None,
            option(
                "--tokenizer",
                metavar="MODEL",
                help="Decodes what a generator makes.",
                autocompletion=complete_model,
            ),
        ],
        "record": Annotated[
            bool, option("--record", help="Write the numbers into the tokenizer's usage.json and card.")
        ],
        "statistics": Annotated[
            Path | None,
            option("--statistics", metavar="FILE", help="Write Inception statistics of what was measured."),
        ],
        "lpips_weights": LpipsOpt,
        "inception_weights": Annotated[
            Path | None,
            option("--inception-weights", metavar="PATH", help="Of the FID network, as --lpips-weights."),
        ],
        "random_networks": Annotated[bool, typer.Option("--random-networks", hidden=True)],
        "size": SizeOpt,
        "eval_size": Annotated[
            Any,
            option(
                "--eval-size",
                parser=parse_pixels,
                metavar="N|HxW",
                help="Bring what a model made, and what it reconstructs, to this size first (LlamaGen: 256).",
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
        option("--out", "-o", metavar="DIR", help="Also write numbers, a line an image, and pictures."),
        Before("samples"),
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Measure reconstructions, samples or images. A protocol says how; the same command continues a job.

    Example: vqcli evaluate runs/demo --images photos/ --metrics psnr,ssim,usage -o evaluation
    """
    from vqcli.jobs.evaluation.evaluate import evaluate as run

    result = run(options, out_folder, force=force, progress=out.progress())
    essential = "\n".join(f"{name} {value}" for name, value in result.results.items())
    out.result(result, lambda: _text(result), essential=essential)
    for written in filter(None, (out_folder, options.statistics)):
        out.say(f"wrote {written}")
    if result.unmeasured:
        out.warn(f"too few images for {', '.join(result.unmeasured)}")
    if result.random_networks:
        out.warn(f"{', '.join(result.networks)} had random weights: what they measured means nothing")
    out.warn_rejected(result.rejected)


def _text(result: EvaluateResult) -> str:
    shown = fields(result.rows(), f"{result.kind} {result.target}")
    return "\n".join([shown, *rejections(result.rejected)])
