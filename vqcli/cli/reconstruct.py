"""``vqcli reconstruct``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vqcli.cli.groups import CHOOSING, COMPUTING, READING, Before, Group
from vqcli.cli.options import ImagesArg, ModelOpt, SizeOpt, forcing, option
from vqcli.cli.output import Out
from vqcli.cli.text import counted, rejections
from vqcli.jobs.options import ImageOptions

if TYPE_CHECKING:
    from vqcli.jobs.reconstruct import ReconstructResult

RECONSTRUCTED = Group(
    ImageOptions,
    {"images": ImagesArg, "model": ModelOpt, "size": SizeOpt, **CHOOSING, **COMPUTING, **READING},
)
"""Images that a tokenizer reconstructs."""


def reconstruct(
    out: Out,
    options: Annotated[ImageOptions, RECONSTRUCTED],
    out_dir: Annotated[
        Path,
        option("--out", "-o", metavar="DIR", help="Folder for the images."),
        Before("model"),
    ] = Path("reconstructed"),
    force: Annotated[bool, forcing("Replace images of another job that are there.")] = False,
) -> None:
    """Show what a tokenizer makes of images: each beside its original, and alone. The same command continues.

    DIR/side-by-side and DIR/reconstructions get a PNG for every image, named as the image is; DIR/sheet.png
    shows some of them.

    Example: vqcli reconstruct photos/ -m runs/demo -o reconstructed/
    """
    from vqcli.jobs.reconstruct import reconstruct as run

    result = run(options, out_dir, force=force, progress=out.progress())
    out.result(result, lambda: _text(result), essential=result.out)
    out.warn_rejected(result.rejected)


def _text(result: ReconstructResult) -> str:
    what = counted(result.images, "image")
    if result.size:
        what += f", {result.size[0]}x{result.size[1]} pixels"
    if result.kept:
        what += f", {result.kept:,} more were there already"
    if result.images_per_second:
        what += f", {result.images_per_second:,.1f} images/s"
    lines = [
        f"{result.out}  {what}, model {result.model}",
        f"{result.sheet}  some of them, originals to the left",
    ]
    return "\n".join(lines + rejections(result.rejected))
