"""Flags that several commands share, each spelt once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vqcli.data.images.forms import forms
from vqcli.types import Size

MOST = 1 << 40
"""Of whatever is counted."""
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
    from vqcli.yaml_text import parse_yaml

    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--sampling {text}: not of the form NAME=VALUE")
        found[name.strip().replace("-", "_")] = parse_yaml(value, f"--sampling {text}")
    return found


def option(*names: str, help: str, default: str = "", **rest: Any) -> Any:
    """A flag; ``default`` says what holds without it where no value of its own does.

    A number that has a least value has a greatest: what no machine counts is refused here.
    """
    if "min" in rest:
        rest.setdefault("max", MOST)
    return typer.Option(*names, help=help, show_default=default or True, **rest)


def forcing(help: str) -> Any:
    """``--force``, of which each command says what it does."""
    return option("--force", help=help)


def complete_model() -> list[str]:
    """Short names of published models, for the shell."""
    from vqcli.library.aliases import ALIASES

    return list(ALIASES)


MODEL = "A model folder or run, a published file, owner/name on the Hub, or a short name (vqcli list models)"
"""What a model may be named by."""
ModelOpt = Annotated[
    str | None,
    option(
        "--model",
        "-m",
        metavar="MODEL",
        help=f"{MODEL}.",
        default="$VQCLI_MODEL, then llamagen-vq16",
        autocompletion=complete_model,
    ),
]
ImagesArg = Annotated[str, typer.Argument(metavar="IMAGES", help=f"One of: {forms()}.")]
OutOpt = Annotated[
    Path | None, option("--out", "-o", metavar="DIR", help="Folder of the run.", default="runs/RECIPE")
]
BatchSizeOpt = Annotated[
    int,
    option(
        "--batch-size", "-b", min=1, metavar="N", help="Images computed at a time; fewer need less memory."
    ),
]
DeviceOpt = Annotated[
    str | None,
    option("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps.", default="the best there is"),
]
PrecisionOpt = Annotated[
    Precision, option("--precision", help="Number format of the computation; weights stay fp32.")
]
SizeOpt = Annotated[
    Any,
    option(
        "--size",
        parser=parse_size,
        metavar="N|HxW|native",
        help="Size of the images in pixels, height before width; native keeps each image's own.",
        default="the model's",
    ),
]


def size_option(help: str, *, default: str) -> Any:
    """``--size`` where all images are of one size; its ``default`` in words."""
    flag = option("--size", parser=parse_pixels, metavar="N|HxW", help=help, default=default)
    return Annotated[Any, flag]


SamplingOpt = Annotated[
    list[str] | None,
    option(
        "--sampling",
        metavar="NAME=VALUE",
        help="Any option of the generator's sampling, such as cfg=1.75; may repeat.",
    ),
]
LpipsOpt = Annotated[
    Path | None,
    option(
        "--lpips-weights",
        metavar="PATH",
        help="Weights of LPIPS: a file, or a folder with them.",
        default="$VQCLI_WEIGHTS_DIR, then a download",
    ),
]
SplitOpt = Annotated[
    str | None, option("--split", metavar="NAME", help="Read only this split, such as train.")
]
SettingsOpt = Annotated[
    list[str] | None,
    option(
        "--set", metavar="KEY=VALUE", help="Set a key of the recipe, such as training.steps=800; may repeat."
    ),
]
ImageColumnOpt = Annotated[
    str | None,
    option(
        "--image-column",
        metavar="NAME",
        help="Which picture of a row or sample: a column of Parquet, or an ending in a tar, as left.png.",
    ),
]
LabelColumnOpt = Annotated[
    str | None,
    option(
        "--label-column",
        metavar="NAME",
        help="What holds the class: a column, a field of the JSON beside a picture, or folder: its name.",
    ),
]
LabelsOpt = Annotated[bool, option("--labels/--no-labels", help="Read classes, or leave them out.")]
ProfileOpt = Annotated[
    bool,
    option(
        "--keep-profile", help="Leave colours as stored; without it an ICC profile converts them to sRGB."
    ),
]
LimitOpt = Annotated[
    int | None, option("--limit", min=1, metavar="N", help="Read only the first N images.", default="all")
]
WorkersOpt = Annotated[
    int | None,
    option(
        "--num-workers",
        min=0,
        metavar="N",
        help="Processes that read images; 0: this one.",
        default="2, for a GPU its share of the cores",
    ),
]
StrictOpt = Annotated[
    bool, option("--strict", help="Fail at the first input that cannot be used, instead of counting it.")
]
PluginOpt = Annotated[
    list[str] | None,
    option(
        "--plugin",
        metavar="MODULE",
        help="Add the parts of a Python module or file, which you must trust; may repeat.",
        default="$VQCLI_PLUGINS",
    ),
]

VerifyOpt = Annotated[
    bool,
    option(
        "--verify", help="Hash every file that is read, also those that are known.", default="$VQCLI_VERIFY"
    ),
]
JsonOpt = Annotated[bool, option("--json", help="Print the result as one JSON value.")]
QuietOpt = Annotated[
    bool, option("--quiet", "-q", help="Print only the path or number that matters, no progress.")
]
VerboseOpt = Annotated[
    bool, option("--verbose", "-v", help="Also say how the line was understood, and other details.")
]
