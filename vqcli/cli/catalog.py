"""``vqcli list`` and ``vqcli new``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vqcli.cli.options import ForceOpt
from vqcli.cli.output import Out
from vqcli.cli.text import table


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
            help="recipes, models, codebooks, quantizers ...; everything otherwise.",
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
        if kind == "models":
            return _models(found[kind])
        if kind:
            return table([kind, ""], [(entry.name, _told(entry)) for entry in found[kind]])
        return table(
            ["kind", "name", ""], [(k, e.name, _told(e)) for k, entries in found.items() for e in entries]
        )

    names = "\n".join(entry.name for entries in found.values() for entry in entries)
    out.result(found[kind] if kind else found, text, essential=names)


def _told(entry: Any) -> str:
    """What an entry is, and the plugin it is from."""
    plugin = getattr(entry, "plugin", "")
    return f"{entry.summary} ({plugin})" if plugin else entry.summary


def _models(entries: Sequence[Any]) -> str:
    """Tokenizers, then generators, each kind below its own line."""
    rows: list[tuple[str, ...]] = []
    for kind in dict.fromkeys(entry.kind for entry in entries):
        rows += [("",) * 6] * bool(rows) + [(f"{kind}s", "codes", "size", "licence", "here", "")]
        rows += [
            (
                entry.name,
                f"{entry.codes:,}" if entry.codes else "none",
                f"{entry.bytes / 1e6:,.0f} MB" if entry.bytes else "",
                entry.licence,
                "yes" if entry.cached else "",
                entry.summary,
            )
            for entry in entries
            if entry.kind == kind
        ]
    return table([""] * 6, rows)


def new(
    out: Out,
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="See vqcli list recipes.", autocompletion=complete_recipe)
    ],
    out_file: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it there, not to stdout.")
    ] = None,
    force: ForceOpt = False,
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
