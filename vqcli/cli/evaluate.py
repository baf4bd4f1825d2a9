"""``vqcli evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcli.cli.options import (
    BatchSizeOpt,
    DeviceOpt,
    ForceOpt,
    LimitOpt,
    LpipsOpt,
    Precision,
    PrecisionOpt,
    SizeOpt,
    SplitOpt,
    StrictOpt,
    WorkersOpt,
    parse_size,
)
from vqcli.cli.output import Out
from vqcli.cli.text import listed

if TYPE_CHECKING:
    from vqcli.jobs.evaluation.result import EvaluateResult


def _option(*names: str, help: str, **rest: Any) -> Any:
    return typer.Option(*names, help=help, show_default=False, **rest)


def complete_protocol() -> list[str]:
    """Names of protocols, for the shell."""
    from vqcli.metrics.protocols import PROTOCOLS

    return list(PROTOCOLS)


def evaluate(
    out: Out,
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="A tokenizer, a generator, or images as encode takes them."),
    ],
    images: Annotated[
        str | None,
        _option(
            "--images",
            metavar="IMAGES",
            help="What a tokenizer reconstructs; what else is measured against: images, or an .npz of ADM's.",
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="Whose way to measure: vqcli list protocols.",
            autocompletion=complete_protocol,
        ),
    ] = "plain",
    metrics: Annotated[
        str | None,
        _option("--metrics", metavar="NAMES", help="These, with commas: psnr,ssim,usage [the protocol's]."),
    ] = None,
    out_folder: Annotated[
        Path | None,
        _option("--out", "-o", metavar="DIR", help="Also write numbers, a line an image, and pictures."),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", "-n", min=2, metavar="N", help="Images that a generator makes.")
    ] = 50_000,
    sampling: Annotated[
        list[str] | None,
        _option("--sampling", metavar="NAME=VALUE", help="Of a generator: cfg=1.75, top_k=0; may repeat."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Of a generator's classes and images.")
    ] = 0,
    tokenizer: Annotated[
        str | None, _option("--tokenizer", metavar="MODEL", help="Decodes a generator's tokens.")
    ] = None,
    record: Annotated[
        bool, _option("--record", help="Write the numbers into the tokenizer's usage.json and card.")
    ] = False,
    statistics: Annotated[
        Path | None,
        _option("--statistics", metavar="FILE", help="Write Inception statistics of what was measured."),
    ] = None,
    lpips_weights: LpipsOpt = None,
    inception_weights: Annotated[
        Path | None,
        _option("--inception-weights", metavar="PATH", help="Of the FID network, as --lpips-weights."),
    ] = None,
    random_networks: Annotated[bool, typer.Option("--random-networks", hidden=True)] = False,
    size: SizeOpt = None,
    eval_size: Annotated[
        Any,
        _option(
            "--eval-size",
            parser=parse_size,
            metavar="N|HxW",
            help="Bring what a model made, and what it reconstructs, to this size first (LlamaGen: 256).",
        ),
    ] = None,
    split: SplitOpt = None,
    limit: LimitOpt = None,
    batch_size: BatchSizeOpt = 32,
    device: DeviceOpt = None,
    precision: PrecisionOpt = Precision.fp32,
    num_workers: WorkersOpt = 2,
    strict: StrictOpt = False,
    force: ForceOpt = False,
) -> None:
    """Measure reconstructions, samples or images, under a protocol with a name. The same command continues.

    Example: vqcli evaluate runs/demo --images photos/ --metrics psnr,ssim,usage -o evaluation
    """
    if eval_size == "native":
        raise typer.BadParameter("--eval-size is N or HxW")
    from vqcli.jobs.evaluation.evaluate import evaluate as run
    from vqcli.jobs.evaluation.options import EvaluateOptions

    options = EvaluateOptions(
        target=target,
        images=images,
        protocol=protocol,
        metrics=[name.strip().replace("-", "_") for name in (metrics or "").split(",") if name.strip()],
        size=size,
        eval_size=eval_size,
        split=split,
        limit=limit,
        batch_size=batch_size,
        device=device,
        precision=precision.value,
        num_workers=num_workers,
        strict=strict,
        samples=samples,
        seed=seed,
        sampling=dict(map(_assignment, sampling or [])),
        tokenizer=tokenizer,
        lpips_weights=lpips_weights,
        inception_weights=inception_weights,
        random_networks=random_networks,
        statistics=statistics,
        record=record,
    )
    result = run(options, out_folder, force=force, progress=out.progress())
    essential = "\n".join(f"{name} {value}" for name, value in result.results.items())
    out.result(result, lambda: _text(result), essential=essential)
    for written in filter(None, (out_folder, statistics)):
        out.say(f"wrote {written}")
    if result.unmeasured:
        out.warn(f"too few images for {', '.join(result.unmeasured)}")
    if result.random_networks:
        out.warn(f"{', '.join(result.networks)} had random weights: what they measured means nothing")
    if result.rejected:
        out.warn(f"{len(result.rejected):,} inputs were rejected")
        raise typer.Exit(3)


def _assignment(text: str) -> tuple[str, Any]:
    from vqcli.config import parse_yaml

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--sampling {text}: not of the form NAME=VALUE")
    return name.strip().replace("-", "_"), parse_yaml(value, f"--sampling {text}")


def _text(result: EvaluateResult) -> str:
    rows = result.rows()
    width = max(len(name) for name, _ in rows) + 2
    lines = [f"{result.kind} {result.target}", *(f"{name:<{width}}{value}" for name, value in rows)]
    return "\n".join(lines + listed("rejected", [f"{r['key']}: {r['reason']}" for r in result.rejected]))
