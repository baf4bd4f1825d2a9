"""Flags that several commands share, each spelt once."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Size = tuple[int, int] | Literal["native"]
"""What ``--size`` gives: (height, width) in pixels, or each image's own."""


class Precision(StrEnum):
    """Number format of autocast; weights and codes stay float32."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def parse_size(text: str) -> Size:
    """``256``, ``256x384`` (height x width) or ``native``. Raises BadParameter."""
    if text == "native":
        return "native"
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if not match:
        raise typer.BadParameter(f"{text!r} is neither N, HxW nor native")
    return int(match[1]), int(match[2] or match[1])


def _option(*names: str, help: str, **rest: Any) -> Any:
    return typer.Option(*names, help=help, show_default=False, **rest)


def complete_model() -> list[str]:
    """Short names of published models, for the shell."""
    from vqcli.library.aliases import ALIASES

    return list(ALIASES)


ModelOpt = Annotated[
    str | None,
    _option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A model or run folder, a published file, owner/name on the Hub, or an alias [$VQCLI_MODEL].",
        autocompletion=complete_model,
    ),
]
OutOpt = Annotated[Path | None, _option("--out", "-o", metavar="PATH", help="Where the result is written.")]
BatchSizeOpt = Annotated[
    int, _option("--batch-size", "-b", min=1, metavar="N", help="Images computed at a time.")
]
DeviceOpt = Annotated[
    str | None,
    _option("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps; the best there is otherwise."),
]
PrecisionOpt = Annotated[
    Precision, _option("--precision", help="Number format of the computation; weights stay float32.")
]
SizeOpt = Annotated[
    Any,
    _option(
        "--size",
        parser=parse_size,
        metavar="N|HxW|native",
        help="Pixels, height before width; native keeps each image's own; the model's size otherwise.",
    ),
]
LpipsOpt = Annotated[
    Path | None,
    _option(
        "--lpips-weights",
        metavar="PATH",
        help="Of LPIPS, a file or folder; else those of $VQCLI_WEIGHTS_DIR, then a download.",
    ),
]
SplitOpt = Annotated[
    str | None, _option("--split", metavar="NAME", help="Read only this split, such as train.")
]
LimitOpt = Annotated[int | None, _option("--limit", min=1, metavar="N", help="Read only the first N images.")]
WorkersOpt = Annotated[int, _option("--num-workers", min=0, metavar="N", help="Processes that read images.")]
StrictOpt = Annotated[bool, _option("--strict", help="Fail at the first input that cannot be used.")]
ForceOpt = Annotated[bool, _option("--force", help="Go on where vqcli would refuse.")]

JsonOpt = Annotated[bool, _option("--json", help="Print the result as one JSON value.")]
QuietOpt = Annotated[bool, _option("--quiet", "-q", help="Print only the essential; no progress.")]
VerboseOpt = Annotated[bool, _option("--verbose", "-v", help="Say more.")]
