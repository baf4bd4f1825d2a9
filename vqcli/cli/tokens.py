"""``vqcli encode`` and ``vqcli decode``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqcli.cli.options import (
    BatchSizeOpt,
    DeviceOpt,
    ForceOpt,
    LimitOpt,
    ModelOpt,
    Precision,
    PrecisionOpt,
    SizeOpt,
    SplitOpt,
    StrictOpt,
    WorkersOpt,
)
from vqcli.cli.output import Out
from vqcli.cli.text import listed
from vqcli.data.images.forms import forms

if TYPE_CHECKING:
    from vqcli.jobs.encode import EncodeResult


class Augment(StrEnum):
    """Which views of every image are encoded."""

    none = "none"
    flip = "flip"
    ten_crop = "ten-crop"


ImagesArg = Annotated[
    str,
    typer.Argument(
        metavar="IMAGES",
        help=f"Images: {forms()}.",
    ),
]


def encode(
    out: Out,
    images: ImagesArg,
    out_file: Annotated[
        Path, typer.Option("--out", "-o", metavar="PATH", help="tokens.npy, or a folder for shards.")
    ] = Path("tokens.npy"),
    model: ModelOpt = None,
    size: SizeOpt = None,
    split: SplitOpt = None,
    limit: LimitOpt = None,
    batch_size: BatchSizeOpt = 32,
    device: DeviceOpt = None,
    precision: PrecisionOpt = Precision.fp32,
    augment: Annotated[
        Augment, typer.Option("--augment", help="Views of each image: with its mirror image, or ten crops.")
    ] = Augment.none,
    crop_range: Annotated[
        float | None,
        typer.Option(
            "--crop-range",
            min=1,
            max=2,
            metavar="FLOAT",
            help="ten-crop cuts from this many times the size [1.1].",
            show_default=False,
        ),
    ] = None,
    num_workers: WorkersOpt = 2,
    strict: StrictOpt = False,
    force: ForceOpt = False,
) -> None:
    """Turn images into tokens. The same command continues a job that was interrupted.

    Example: vqcli encode photos/ -o tokens.npy -m runs/demo
    """
    if crop_range is not None and augment is not Augment.ten_crop:
        raise typer.BadParameter("--crop-range belongs to --augment ten-crop")
    from vqcli.jobs.encode import encode as run
    from vqcli.jobs.encoder import ImageOptions

    options = ImageOptions(
        images=images,
        model=model,
        size=size,
        split=split,
        limit=limit,
        batch_size=batch_size,
        device=device,
        precision=precision.value,
        num_workers=num_workers,
        strict=strict,
        augment=augment.value,
        crop_range=crop_range or 1.1,
    )
    result = run(options, out_file, force=force, progress=out.progress())
    out.result(result, lambda: _text(result), essential=result.out)
    if result.rejected:
        out.warn(f"{len(result.rejected):,} inputs were rejected")
        raise typer.Exit(3)


def _text(result: EncodeResult) -> str:
    grid = " + ".join(f"{h}x{w}" for h, w in result.grid) if result.grid else "differently many"
    images = f"{result.encoded:,} images" + (f" in {result.views} views" if result.views > 1 else "")
    what = f"{images}, {grid} tokens of {result.codebook_size:,} codes"
    listing = result.out.with_suffix(".json") if result.out.suffix == ".npy" else result.out / "index.json"
    bad = listed(f"rejected, all in {listing}", [f"{r['key']}: {r['reason']}" for r in result.rejected])
    return "\n".join([f"{result.out}  {what}, model {result.model}", *bad])


def decode(
    out: Out,
    tokens: Annotated[
        Path, typer.Argument(metavar="TOKENS", help="A file or folder that vqcli encode wrote.")
    ],
    out_dir: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the images.")],
    model: ModelOpt = None,
    limit: LimitOpt = None,
    batch_size: BatchSizeOpt = 32,
    device: DeviceOpt = None,
    precision: PrecisionOpt = Precision.fp32,
    force: ForceOpt = False,
) -> None:
    """Turn tokens back into images. PNGs named by the keys of the originals; existing ones are kept.

    Example: vqcli decode tokens.npy -o reconstructions/ -m runs/demo
    """
    from vqcli.jobs.decode import DecodeOptions
    from vqcli.jobs.decode import decode as run

    options = DecodeOptions(model, batch_size, device, precision.value, limit, force)
    result = run(tokens, out_dir, options, out.progress())
    kept = f", {result.kept:,} of them were there already" if result.kept else ""
    out.result(
        result, f"{result.out}  {result.images:,} images{kept}, model {result.model}", essential=result.out
    )
