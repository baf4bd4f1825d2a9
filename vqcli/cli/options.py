"""Flags that several commands share, each spelt once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vqcli.data.images.forms import forms
from vqcli.types import Size

Precision = Literal["fp32", "bf16", "fp16"]
"""Number format of a computation."""


def parse_size(text: str) -> Size:
    """``256``, ``256x384`` (height x width) or ``native``. Raises BadParameter."""
    if text == "native":
        return "native"
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if not match:
        raise typer.BadParameter(f"{text!r} is neither N, HxW nor native")
    return int(match[1]), int(match[2] or match[1])


def parse_pixels(text: str) -> tuple[int, int]:
    """``256`` or ``256x384`` (height x width). Raises BadParameter."""
    size = parse_size(text)
    if size == "native":
        raise typer.BadParameter("one size for all images: N or HxW")
    return size


def parse_sampling(texts: Iterable[str]) -> dict[str, Any]:
    """The options in ``--sampling NAME=VALUE`` texts; values are YAML. Raises BadParameter and VqcliError."""
    from vqcli.config import parse_yaml

    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--sampling {text}: not of the form NAME=VALUE")
        found[name.strip().replace("-", "_")] = parse_yaml(value, f"--sampling {text}")
    return found


def option(*names: str, help: str, **rest: Any) -> Any:
    """A flag whose default is not shown, or stands in its help."""
    return typer.Option(*names, help=help, show_default=False, **rest)


def complete_model() -> list[str]:
    """Short names of published models, for the shell."""
    from vqcli.library.aliases import ALIASES

    return list(ALIASES)


MODEL = "A model or run folder, a published file, owner/name on the Hub, or an alias"
"""What a model may be named by."""
ModelOpt = Annotated[
    str | None,
    option(
        "--model",
        "-m",
        metavar="MODEL",
        help=f"{MODEL} [$VQCLI_MODEL].",
        autocompletion=complete_model,
    ),
]
ImagesArg = Annotated[str, typer.Argument(metavar="IMAGES", help=f"Images: {forms()}.")]
OutOpt = Annotated[Path | None, option("--out", "-o", metavar="PATH", help="Where the result is written.")]
BatchSizeOpt = Annotated[
    int, option("--batch-size", "-b", min=1, metavar="N", help="Images computed at a time.")
]
DeviceOpt = Annotated[
    str | None,
    option("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps; the best there is otherwise."),
]
PrecisionOpt = Annotated[
    Precision, option("--precision", help="Number format of the computation; weights stay float32.")
]
SizeOpt = Annotated[
    Any,
    option(
        "--size",
        parser=parse_size,
        metavar="N|HxW|native",
        help="Pixels, height before width; native keeps each image's own; the model's size otherwise.",
    ),
]
SamplingOpt = Annotated[
    list[str] | None,
    option(
        "--sampling",
        metavar="NAME=VALUE",
        help="Any option of a generator's sampling: cfg=1.75; may repeat.",
    ),
]
LpipsOpt = Annotated[
    Path | None,
    option(
        "--lpips-weights",
        metavar="PATH",
        help="Of LPIPS, a file or folder; else those of $VQCLI_WEIGHTS_DIR, then a download.",
    ),
]
SplitOpt = Annotated[
    str | None, option("--split", metavar="NAME", help="Read only this split, such as train.")
]
SettingsOpt = Annotated[
    list[str] | None, option("--set", metavar="a.b=value", help="Override a key of the recipe; may repeat.")
]
ImageColumnOpt = Annotated[
    str | None,
    option(
        "--image-column",
        metavar="NAME",
        help="Which of several pictures: a column of Parquet, or a sample's member, as left.png.",
    ),
]
LabelColumnOpt = Annotated[
    str | None,
    option(
        "--label-column",
        metavar="NAME",
        help="What holds the label: a column, a field of the JSON beside a picture, or folder.",
    ),
]
LabelsOpt = Annotated[bool, option("--labels/--no-labels", help="Read labels, or none.")]
ProfileOpt = Annotated[
    bool, option("--keep-profile", help="Do not convert colours to sRGB where an ICC profile tells others.")
]
LimitOpt = Annotated[int | None, option("--limit", min=1, metavar="N", help="Read only the first N images.")]
WorkersOpt = Annotated[int, option("--num-workers", min=0, metavar="N", help="Processes that read images.")]
StrictOpt = Annotated[bool, option("--strict", help="Fail at the first input that cannot be used.")]
ForceOpt = Annotated[bool, option("--force", help="Go on where vqcli would refuse.")]
PluginOpt = Annotated[
    list[str] | None,
    option(
        "--plugin",
        metavar="MODULE",
        help="Add the parts of a Python module or file that you trust; may repeat [$VQCLI_PLUGINS].",
    ),
]

JsonOpt = Annotated[bool, option("--json", help="Print the result as one JSON value.")]
QuietOpt = Annotated[bool, option("--quiet", "-q", help="Print only the essential; no progress.")]
VerboseOpt = Annotated[bool, option("--verbose", "-v", help="Say more.")]
