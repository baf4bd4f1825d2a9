"""``vqcli info`` and ``vqcli check``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vqcli.cli.catalog import complete_recipe
from vqcli.cli.options import LpipsOpt, complete_model
from vqcli.cli.output import Out
from vqcli.cli.text import table


def info(
    out: Out,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A model, as for --model; $VQCLI_MODEL otherwise.",
            autocompletion=complete_model,
        ),
    ] = None,
) -> None:
    """Tell what a model is. Reads its folder, loads nothing.

    Example: vqcli info runs/demo
    """
    from vqcli.jobs.info import describe_model

    found = describe_model(model, out.progress())

    rows = _generator if found.kind == "generator" else _tokenizer
    out.result(found, lambda: table(["", ""], rows(found)), essential=found.folder)


def _tokenizer(found: Any) -> list[tuple[str, object]]:
    size = "x".join(map(str, found.image_size)) if found.image_size else "any"
    return [
        ("folder", found.folder),
        ("kind", f"{found.kind}, {_quantizer(found.tokenizer['quantizer'])}"),
        ("codes", f"{found.codebook_size:,} of width {found.width}"),
        ("images", f"{size} pixels, a token for {found.downsample}x{found.downsample}"),
        ("weights", f"{found.parameters:,} numbers, {found.bytes / 1e6:.1f} MB"),
        ("fingerprint", found.fingerprint or "none yet: a training checkpoint"),
        ("utilization", _stored(found.usage)),
    ]


def _generator(found: Any) -> list[tuple[str, object]]:
    named = "" if found.named else ", without names"
    return [
        ("folder", found.folder),
        ("kind", f"{found.kind}, {network(found.generator)}"),
        ("classes", f"{found.classes:,}{named}"),
        ("images", layout(found)),
        ("weights", f"{found.parameters:,} numbers, {found.bytes / 1e6:.1f} MB"),
        ("tokenizer", found.tokenizer or NO_TOKENIZER),
        ("fingerprint", f"{found.fingerprint} (of the tokenizer)" if found.fingerprint else "not told"),
        ("sampling", sampling(found.generator)),
    ]


NO_TOKENIZER = "not here: vqcli generate will need --tokenizer"
"""What is told of a generator that is without its tokenizer."""


def network(options: dict[str, Any]) -> str:
    """A generator's network: ``gpt, layers 12, heads 12, width 768``."""
    told = [f"{key} {options[key]}" for key in ("layers", "heads", "width") if key in options]
    return ", ".join([options["name"], *told])


def layout(found: Any) -> str:
    """What a generator makes: ``256x256 pixels, 16x16 tokens of 16,384 codes``."""
    size = f"{'x'.join(map(str, found.image_size))} pixels, " if found.image_size else ""
    tokens = f"{sum(h * w for h, w in found.grid):,}"
    if len(found.grid) == 1:
        tokens = "x".join(map(str, found.grid[0]))
    return f"{size}{tokens} tokens of {found.codebook_size:,} codes"


def sampling(options: dict[str, Any]) -> str:
    """A generator's defaults of sampling: ``cfg 2.0, top_k 0``."""
    return ", ".join(f"{name} {value}" for name, value in options["sampling"].items())


def _quantizer(options: dict[str, Any]) -> str:
    """``residual quantizer, depth 4``."""
    told = [f"{key} {options[key]}" for key in ("metric", "depth", "scales") if key in options]
    return ", ".join([f"{options['name']} quantizer", *told])


def _stored(usage: dict[str, object] | None) -> str:
    if usage is None:
        return "never measured"
    return f"{usage['utilization']:.2%} over {usage['tokens']:,} tokens of {usage['images']}"


def check(
    out: Out,
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A shipped recipe or a YAML file.", autocompletion=complete_recipe
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=value", help="Override a key of the recipe; may repeat."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="IMAGES", help="Images it would train on.")
    ] = None,
    lpips_weights: LpipsOpt = None,
) -> None:
    """Validate a recipe and say what it costs. Trains nothing.

    Example: vqcli check fvq-16k --set training.batch_size=32
    """
    from vqcli.config import quoted
    from vqcli.jobs.check import check_recipe

    given = [f"data.source={quoted(data)}"] if data else []
    found = check_recipe(recipe, [*(settings or []), *given], lpips_weights)

    def text() -> str:
        images = (
            f"{found.images:,}"
            if found.images is not None
            else f"{found.settings['data']['source']} is not here"
        )
        steps = f"{found.steps:,}" if found.steps else f"{found.settings['training']['steps']}"
        rows = [(f"parameters: {name}", f"{n:,}") for name, n in found.parameters.items()]
        rows += [("training images", images), ("steps", f"{steps} of {found.batch_size} images")]
        rows += [(f"memory: {name}", f"{size / 2**30:.2f} GiB") for name, size in found.memory.items()]
        return table([found.recipe, ""], rows)

    out.result(found, text, essential="ok")
    for remark in (*found.downloads, *found.remarks):
        out.warn(remark)
    for reason in found.missing:
        out.warn(f"would not train here: {reason}")
    short = found.images is not None and found.images < found.batch_size
    if short:
        out.warn("these images do not fill one batch")
    if short or (data and found.missing):
        raise typer.Exit(3)
