"""``vqcli build-codebook``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcli.cli.groups import CHOOSING, READING, Before, Group
from vqcli.cli.options import BatchSizeOpt, DeviceOpt, ImagesArg, forcing, option, size_option
from vqcli.cli.output import Out
from vqcli.cli.text import counted, fields, rejections
from vqcli.jobs.options import CodebookOptions, FeatureOptions

if TYPE_CHECKING:
    from vqcli.jobs.build_codebook import CodebookResult


def _features(**given: Any) -> FeatureOptions:
    if "patch" in given and given["features"] != "pixels":
        raise typer.BadParameter("--patch belongs to --features pixels")
    return FeatureOptions(**given)


FEATURES = Group(
    FeatureOptions,
    {
        "images": ImagesArg,
        "features": Annotated[
            str,
            option(
                "--features",
                metavar="pixels|vision|MODEL",
                help="What to make vectors of: raw patches, CLIP ViT-L/14 (vision, as published), "
                "or another vision model by its name on the Hub.",
            ),
        ],
        "patch": Annotated[
            int | None,
            option("--patch", min=1, metavar="P", help="Of pixels: side of a patch, in pixels.", default="4"),
        ],
        "pool": Annotated[
            int | None,
            option(
                "--pool",
                min=1,
                metavar="N",
                help="Average NxN neighbouring vectors.",
                default="4; of pixels 1",
            ),
        ],
        "size": size_option(
            "Size of the images in pixels, height before width.", default="the features' own"
        ),
        **CHOOSING,
        "batch_size": BatchSizeOpt,
        "device": DeviceOpt,
        **READING,
    },
    _features,
)
"""Images, and what vectors are made of them."""


def build_codebook(
    out: Out,
    source: Annotated[FeatureOptions, FEATURES],
    out_file: Annotated[
        Path,
        option("--out", "-o", metavar="FILE", help="The .safetensors file for the codes."),
        Before("features"),
    ] = Path("features.safetensors"),
    codebook_size: Annotated[
        int,
        option("--codebook-size", "-k", min=1, metavar="K", help="Codes to make, exactly so many."),
        Before("features"),
    ] = 4096,
    per_class: Annotated[
        bool,
        option("--per-class", help="Make as many codes for every class, as published."),
        Before("size"),
    ] = False,
    iterations: Annotated[
        int,
        option("--iterations", min=1, metavar="N", help="Rounds of k-means at most."),
        Before("size"),
    ] = 20,
    seed: Annotated[
        int, option("--seed", min=0, metavar="N", help="Decides where k-means starts."), Before("size")
    ] = 0,
    force: Annotated[bool, forcing("Replace a file that is at -o.")] = False,
) -> None:
    """Make a codebook of images' features by k-means, as VQGAN-LC's. The same command continues a job.

    Example: vqcli build-codebook photos/ -o features.safetensors -k 4096
    """
    from vqcli.jobs.build_codebook import build_codebook as run

    options = CodebookOptions(source, codebook_size, per_class, iterations, seed)
    result = run(options, out_file, force=force, progress=out.progress())
    out.result(result, lambda: _text(result), essential=result.out)
    out.warn_rejected(result.rejected)


def _text(result: CodebookResult) -> str:
    pooled = f", {result.pooling}x{result.pooling} of them averaged" if result.pooling > 1 else ""
    each = ""
    if result.classes:
        each = f", {result.codes // result.classes:,} for each of {result.classes:,} classes"
    book = "tokenizer.codebook"
    settings = {"base": result.out, "size": result.codes, "base_width": result.width}
    flags = " ".join(f"--set {shlex.quote(f'{book}.{name}={value}')}" for name, value in settings.items())
    what = "the mean squared distance to the nearest code"
    rows = [
        ("features", f"{result.features}{pooled}"),
        ("vectors", f"{result.vectors:,} of {counted(result.images, 'image')}"),
        ("objective", f"{result.objective:.6g}, {what}, after {counted(result.iterations, 'iteration')}"),
        ("seconds", f"{result.seconds:,.1f}"),
    ]
    return "\n".join(
        [
            fields(rows, f"{result.out}  {result.codes:,} codes of width {result.width}{each}"),
            f"Train on it: vqcli train vqgan-lc-cifar10 {flags}",
            *rejections(result.rejected),
        ]
    )
