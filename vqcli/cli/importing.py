"""``vqcli import``."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcli.cli.options import ForceOpt, complete_model, parse_size
from vqcli.cli.output import Out
from vqcli.cli.text import table

if TYPE_CHECKING:
    from vqcli.library.importing import ImportResult


class Metric(StrEnum):
    """How latents are compared with codes."""

    l2 = "l2"
    cosine = "cosine"
    dot = "dot"


def parse_pixels(text: str) -> tuple[int, int]:
    """``256`` or ``256x384`` (height x width). Raises BadParameter."""
    size = parse_size(text)
    if size == "native":
        raise typer.BadParameter("a model was trained at one size: N or HxW")
    return size


def parse_scales(text: str) -> tuple[int, ...]:
    """``1,2,4``. Raises BadParameter."""
    if not re.fullmatch(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", text):
        raise typer.BadParameter(f"{text!r} is not of the form 1,2,4")
    return tuple(map(int, text.split(",")))


def import_file(
    out: Out,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .pt, .pth, .ckpt, .bin or .safetensors file.")
    ],
    out_dir: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the model.")],
    metric: Annotated[
        Metric | None,
        typer.Option(
            "--metric",
            help="How latents are compared with codes, which no file of LlamaGen, VQGAN or IBQ tells; "
            "as published otherwise.",
        ),
    ] = None,
    size: Annotated[
        Any,
        typer.Option(
            "--size",
            parser=parse_pixels,
            metavar="N|HxW",
            help="Pixels it was trained at; as published otherwise, 256 for a generator.",
        ),
    ] = None,
    scales: Annotated[
        Any,
        typer.Option(
            "--scales",
            parser=parse_scales,
            metavar="1,2,...",
            help="Sides of VAR's squares of tokens; those for 256x256 otherwise.",
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            metavar="MODEL",
            help="Of a generator: the tokenizer whose tokens it makes; a copy goes into its folder.",
            autocompletion=complete_model,
        ),
    ] = None,
    heads: Annotated[
        int | None,
        typer.Option(
            "--heads", min=1, help="Of a generator's attention; as published, else one for 64 of the width."
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option("--classes", min=1, help="Of a GPT-LC file without its tokenizer; 1000 otherwise."),
    ] = None,
    force: ForceOpt = False,
) -> None:
    """Make a model folder of a published checkpoint. Its system is told by its keys, sizes by its shapes.

    Example: vqcli import vq_ds16_c2i.pt -o models/llamagen-vq16
    """
    from vqcli.importers.base import ImportOptions
    from vqcli.library.find import import_file as run

    options = ImportOptions(metric.value if metric else None, size, scales, heads=heads, classes=classes)
    result = run(file, out_dir, options, tokenizer=tokenizer, force=force, progress=out.progress())
    out.result(result, lambda: _text(result), essential=result.out)


def _text(result: ImportResult) -> str:
    record = result.record
    where = f"'{record['container']}' of {record['file']}" if record["container"] else record["file"]
    rows = [
        ("folder", result.out),
        ("layout", result.layout),
        ("weights", f"{where}{', running averages' if record['averaged'] else ''}"),
        *result.rows(),
        ("licence", f"{record['licence']} (its authors' code)" if record["licence"] else "not told"),
    ]
    return table(["", ""], rows)
