"""``vqcli info`` and ``vqcli check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqcli.cli.catalog import complete_recipe
from vqcli.cli.options import LpipsOpt, SettingsOpt, complete_model, option
from vqcli.cli.output import UNCLEAN, Out
from vqcli.cli.text import fields


def complete_target() -> list[str]:
    """Short names of models, and recipes, for the shell."""
    return [*complete_model(), *complete_recipe()]


def info(
    out: Out,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="A model folder or run, a published file, owner/name on the Hub, or a short name; "
            "tokens, images or a recipe.",
            show_default="$VQCLI_MODEL",
            autocompletion=complete_target,
        ),
    ] = None,
) -> None:
    """Tell what a model, tokens, images or a recipe are. Loads no weights; -v and --json list all classes.

    Example: vqcli info runs/demo

    Example: vqcli info photos/
    """
    from vqcli.jobs.info import describe
    from vqcli.recipes import recipe_names

    found = describe(target, out.progress())

    def text() -> str:
        every = found.listing() if out.verbose and hasattr(found, "listing") else []
        return "\n\n".join(fields(rows) for rows in (found.rows(), every) if rows)

    out.result(found, text, essential=getattr(found, "folder", target))
    if target in recipe_names() and found.kind != "recipe":
        out.say(f"a recipe is called {target} too: vqcli check {target}")


def check(
    out: Out,
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A shipped recipe or a YAML file.", autocompletion=complete_recipe
        ),
    ],
    settings: SettingsOpt = None,
    data: Annotated[
        str | None, option("--data", metavar="IMAGES", help="What it would train on, as for train.")
    ] = None,
    lpips_weights: LpipsOpt = None,
) -> None:
    """Check a recipe, and tell its parameters, steps and memory. Trains nothing.

    Example: vqcli check fvq-16k --set training.batch_size=32
    """
    from vqcli.jobs.check import check_recipe
    from vqcli.yaml_text import quoted

    given = [f"data.source={quoted(data)}"] if data else []
    found = check_recipe(recipe, [*(settings or []), *given], lpips_weights)

    def text() -> str:
        source = found.settings["data"]["source"]
        why = "cannot be used" if Path(source).exists() else "is not here"
        images = f"{source} {why}" if found.images is None else f"{found.images:,}"
        steps = f"{found.steps:,}" if found.steps else f"{found.settings['training']['steps']}"
        rows = [(f"parameters: {name}", f"{n:,}") for name, n in found.parameters.items()]
        rows += [("training images", images), ("steps", f"{steps} of {found.batch_size:,} images")]
        rows += [(f"memory: {name}", f"{size / 2**30:.2f} GiB") for name, size in found.memory.items()]
        rows += [(f"plugin {name}", ", ".join(parts)) for name, parts in found.plugins.items()]
        return fields(rows, found.recipe)

    out.result(found, text, essential="ok")
    for remark in (*found.downloads, *found.remarks):
        out.warn(remark)
    for reason in found.missing:
        out.warn(f"would not train here: {reason}")
    short = found.images is not None and found.images < found.batch_size
    if short:
        out.warn("these images do not fill one batch")
    elif not found.missing:
        out.say("ok: this recipe can be trained here")
    if short or (data and found.missing):
        raise typer.Exit(UNCLEAN)
