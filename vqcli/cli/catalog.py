"""``vqcli list`` and ``vqcli new``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vqcli.cli.options import forcing, option
from vqcli.cli.output import Out
from vqcli.cli.text import paragraph, section, table


def complete_kind() -> list[str]:
    """What ``list`` can be asked for, for the shell."""
    from vqcli.jobs.catalog import kinds

    return kinds()


def complete_recipe() -> list[str]:
    """Names of recipes, for the shell."""
    from vqcli.recipes import recipe_names

    return recipe_names()


def list_parts(
    out: Out,
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="recipes, models, codebooks, quantizers ... [default: everything]",
            autocompletion=complete_kind,
        ),
    ] = None,
) -> None:
    """List recipes, their parts and published models.

    Example: vqcli list recipes
    """
    from vqcli.jobs.catalog import catalog

    found = catalog(kind)

    def text() -> str:
        if kind:
            return _listed(kind, found[kind])
        return "\n\n".join(f"{each.upper()}\n\n{_listed(each, entries)}" for each, entries in found.items())

    names = "\n".join(entry.name for entries in found.values() for entry in entries)
    out.result(found[kind] if kind else found, text, essential=names)


def _listed(kind: str, entries: Sequence[Any]) -> str:
    """A list for people: recipes by purpose, models by kind and system."""
    if kind == "recipes":
        return _recipes(entries)
    if kind == "models":
        return _models(entries)
    return table(["", ""], [(entry.name, _told(entry)) for entry in entries])


def _told(entry: Any) -> str:
    """What an entry is, and the plugin it is from."""
    plugin = getattr(entry, "plugin", "")
    summary = entry.summary.replace("``", "")
    return f"{summary} ({plugin})" if plugin else summary


def _recipes(entries: Sequence[Any]) -> str:
    """By purpose; the papers that summaries end with in a column of their own."""
    from vqcli.jobs.catalog import PAPER, PURPOSES

    parts = []
    for purpose, heading in PURPOSES.items():
        told = [(each.name, *each.summary.partition(PAPER)) for each in entries if each.purpose == purpose]
        if any(paper for *_, paper in told):
            rows = [(name, paper, summary.rstrip("; .") + ".") for name, summary, _, paper in told]
            parts.append(section(heading, ["", "arXiv", ""], rows))
        elif told:
            parts.append(section(heading, ["", ""], [(name, summary) for name, summary, *_ in told]))
    note = (
        "Next: vqcli train --data IMAGES (photos), vqcli train (demo), vqcli train NAME, "
        "or vqcli new NAME -o my.yaml for a copy to edit."
    )
    return "\n\n".join([*parts, paragraph(note)])


def _models(entries: Sequence[Any]) -> str:
    """By system and kind."""
    from vqcli.library.alias import ABOUT
    from vqcli.library.aliases import DEFAULT, GENERATOR

    groups: dict[str, list[tuple[object, ...]]] = {}
    for each in entries:
        size = f"{each.bytes / 1e6:,.0f} MB" if each.bytes else ""
        licence = "see repo" if each.licence == ABOUT else each.licence
        row = (each.name, each.codes or "none", "here" if each.cached else size, licence, each.summary)
        kind = each.kind if each.codes else "autoencoder"
        groups.setdefault(f"{each.system} {kind}s", []).append(row)
    columns = ["", "codes", "download", "licence", ""]
    note = f"Where none is named: {DEFAULT}, to generate {GENERATOR}. Those that are here need no network."
    tables = [section(heading, columns, rows) for heading, rows in groups.items()]
    return "\n\n".join([*tables, paragraph(note)])


def new(
    out: Out,
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A name that vqcli list recipes shows.", autocompletion=complete_recipe
        ),
    ],
    out_file: Annotated[
        Path | None, option("--out", "-o", metavar="FILE", help="File for the copy.", default="stdout")
    ] = None,
    force: Annotated[bool, forcing("Replace a file that is at -o.")] = False,
) -> None:
    """Copy a shipped recipe, comments included, to edit.

    Example: vqcli new demo -o my.yaml
    """
    from vqcli.jobs.catalog import copy_recipe, read_recipe

    if out_file is None:
        found = read_recipe(recipe)
        out.result(found, found.text, essential=found.text.rstrip("\n"))
    else:
        copied = copy_recipe(recipe, out_file, force)
        out.result(copied, f"{copied.path}\nTrain it with: vqcli train {copied.path}", essential=copied.path)
