"""``vqcli import``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcli.cli.groups import Before, Group
from vqcli.cli.options import complete_model, forcing, option, size_option
from vqcli.cli.output import Out
from vqcli.cli.text import fields
from vqcli.importers.options import ImportOptions, Metric

if TYPE_CHECKING:
    from vqcli.library.importing import ImportResult


def parse_scales(text: str) -> tuple[int, ...]:
    """``1,2,4``. Raises BadParameter."""
    if not re.fullmatch(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", text):
        raise typer.BadParameter(f"{text!r} is not of the form 1,2,4")
    return tuple(map(int, text.split(",")))


UNTOLD = Group(
    ImportOptions,
    {
        "metric": Annotated[
            Metric | None,
            option(
                "--metric",
                help="How latents are compared with codes, which no file of LlamaGen, VQGAN or IBQ tells.",
                default="as published",
            ),
        ],
        "size": size_option(
            "Pixels of the images it was trained on, height before width.",
            default="as published; a generator's 256",
        ),
        "scales": Annotated[
            Any,
            option(
                "--scales",
                parser=parse_scales,
                metavar="1,2,...",
                help="Sides of VAR's squares of tokens.",
                default="those for 256x256 pixels",
            ),
        ],
        "scale": Annotated[
            float | None,
            option(
                "--scale",
                min=1e-6,
                metavar="FLOAT",
                help="What generators see an autoencoder's latents multiplied by.",
                default="config.json's, then Stable Diffusion's 0.18215",
            ),
        ],
        "heads": Annotated[
            int | None,
            option(
                "--heads",
                min=1,
                metavar="N",
                help="Heads of a generator's attention.",
                default="as published, else width / 64",
            ),
        ],
        "classes": Annotated[
            int | None,
            option(
                "--classes",
                min=1,
                metavar="N",
                help="Classes of a GPT-LC file that comes without its tokenizer.",
                default="1000",
            ),
        ],
    },
)
"""What a file may not tell of itself."""


def import_file(
    out: Out,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .pt, .pth, .ckpt, .bin or .safetensors file, an index of several, or their folder.",
        ),
    ],
    out_dir: Annotated[Path, option("--out", "-o", metavar="DIR", help="Folder for the model.")],
    options: Annotated[ImportOptions, UNTOLD],
    tokenizer: Annotated[
        str | None,
        option(
            "--tokenizer",
            metavar="MODEL",
            help="Of a generator: the tokenizer whose tokens it makes; its folder gets a copy.",
            autocompletion=complete_model,
        ),
        Before("heads"),
    ] = None,
    force: Annotated[bool, forcing("Replace what is at -o.")] = False,
) -> None:
    """Make a model folder of a published checkpoint. Its system is told by its keys, sizes by its shapes.

    Example: vqcli import vq_ds16_c2i.pt -o models/llamagen-vq16
    """
    from vqcli.library.find import import_file as run

    result = run(file, out_dir, options, tokenizer=tokenizer, force=force, progress=out.progress())
    out.result(result, lambda: _text(result), essential=result.out)


def _text(result: ImportResult) -> str:
    record = result.record
    places = [f"'{place}'" for place in (record.get("inside", ""), record["container"]) if place]
    where = " of ".join([*places, record["file"]])
    most = sorted(record.get("left_out", {}).items(), key=lambda item: -item[1])[:6]
    others = ", ".join(f"{count:,} tensors under '{name}'" for name, count in most)
    rows = [
        ("folder", result.out),
        ("layout", result.layout),
        ("weights", f"{where}{', running averages' if record['averaged'] else ''}"),
        *([("left out", others)] if others else []),
        *result.rows(),
        ("licence", f"{record['licence']} (its authors' code)" if record["licence"] else "not told"),
    ]
    return fields(rows)
