"""``vqcli encode`` and ``vqcli decode``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vqcli.cli.groups import CHOOSING, COMPUTING, READING, Before, Group
from vqcli.cli.options import ImagesArg, LimitOpt, ModelOpt, SizeOpt, forcing, option
from vqcli.cli.output import Out
from vqcli.cli.text import rejections
from vqcli.jobs.options import DecodeOptions, ImageOptions
from vqcli.types import Augment

if TYPE_CHECKING:
    from vqcli.jobs.encode import EncodeResult


def _views(**given: Any) -> ImageOptions:
    if "crop_range" in given and given["augment"] != "ten-crop":
        raise typer.BadParameter("--crop-range belongs to --augment ten-crop")
    names = [name.strip() for name in given.pop("keep", "").split(",")]
    return ImageOptions(keep=tuple(dict.fromkeys(filter(None, names))), **given)


ENCODED = Group(
    ImageOptions,
    {
        "images": ImagesArg,
        "model": ModelOpt,
        "size": SizeOpt,
        **CHOOSING,
        **COMPUTING,
        "augment": Annotated[
            Augment,
            option("--augment", help="Further views of each image: its mirror image, or ten crops instead."),
        ],
        "crop_range": Annotated[
            float | None,
            option(
                "--crop-range",
                min=1,
                max=2,
                metavar="FLOAT",
                help="Of ten-crop: cut from so many times the size, 1 to 2.",
                default="1.1",
            ),
        ],
        "latents": Annotated[
            Literal["float16", "float32"] | None,
            option("--latents", help="Keep latents in this number format instead of tokens."),
        ],
        "keep": Annotated[
            str | None,
            option(
                "--keep",
                metavar="NAMES",
                help="Also keep these of every image, with commas: caption, or columns and JSON fields.",
            ),
        ],
        **READING,
    },
    _views,
)
"""Images to encode, in one view or several."""
DECODING = Group(
    DecodeOptions,
    {
        "model": ModelOpt,
        "limit": LimitOpt,
        **COMPUTING,
        "force": Annotated[
            bool, forcing("Use another tokenizer than made the tokens; replace images that are there.")
        ],
    },
)
"""How tokens are decoded."""


def encode(
    out: Out,
    options: Annotated[ImageOptions, ENCODED],
    out_file: Annotated[
        Path | None,
        option(
            "--out",
            "-o",
            metavar="PATH",
            help="One file if the name ends in .npy, else a folder of shards.",
            default="tokens.npy, or latents",
        ),
        Before("model"),
    ] = None,
    force: Annotated[bool, forcing("Start over where something else was written: it is replaced.")] = False,
) -> None:
    """Turn images into tokens, or into latents. The same command continues a job that was interrupted.

    Example: vqcli encode photos/ -o tokens.npy -m runs/demo
    """
    from vqcli.jobs.encode import encode as run

    place = out_file or Path("latents" if options.latents else "tokens.npy")
    result = run(options, place, force=force, progress=out.progress())
    out.result(result, lambda: _text(result), essential=result.out)
    out.warn_rejected(result.rejected)


def _text(result: EncodeResult) -> str:
    grid = " + ".join(f"{h}x{w}" for h, w in result.grid) if result.grid else "differently many"
    images = f"{result.encoded:,} images" + (f" in {result.views} views" if result.views > 1 else "")
    what = f"{images}, {grid} {'latents' if result.width else 'tokens'} of "
    what += f"width {result.width}" if result.width else f"{result.codebook_size:,} codes"
    if result.images_per_second:
        what += f", {result.images_per_second:,.1f} images/s"
    listing = result.out.with_suffix(".json") if result.out.suffix == ".npy" else result.out / "index.json"
    kept = [f"kept {name} of {count:,} images" for name, count in result.extras.items()]
    bad = rejections(result.rejected, f"rejected, all in {listing}")
    return "\n".join([f"{result.out}  {what}, model {result.model}", *kept, *bad])


def decode(
    out: Out,
    tokens: Annotated[
        Path, typer.Argument(metavar="TOKENS", help="A file or folder that vqcli encode wrote.")
    ],
    out_dir: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the images.")],
    options: Annotated[DecodeOptions, DECODING],
) -> None:
    """Turn tokens back into images. They are PNGs, named as the originals; those that are there are kept.

    Example: vqcli decode tokens.npy -o reconstructions/ -m runs/demo
    """
    from vqcli.jobs.decode import decode as run

    result = run(tokens, out_dir, options, out.progress())
    kept = f", {result.kept:,} more were there already" if result.kept else ""
    out.result(
        result, f"{result.out}  {result.images:,} images{kept}, model {result.model}", essential=result.out
    )
