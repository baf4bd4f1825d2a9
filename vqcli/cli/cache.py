"""``vqcli cache``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vqcli.cli.options import option
from vqcli.cli.output import Out
from vqcli.cli.text import table

if TYPE_CHECKING:
    from vqcli.jobs.cache import CacheEntry, CacheList


def cache(
    out: Out,
    action: Annotated[
        Literal["ls", "rm"], typer.Argument(metavar="ls|rm", help="List what is kept, or remove some of it.")
    ] = "ls",
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="What to remove, as ls calls it.")
    ] = None,
    everything: Annotated[bool, option("--all", help="Remove all of it.")] = False,
    yes: Annotated[bool, option("--yes", "-y", help="Remove without asking first.")] = False,
) -> None:
    """List or remove what vqcli keeps between commands: imported models, networks, unfinished evaluations.

    All of it is made again where it is needed. $VQCLI_CACHE names another folder for it.

    Example: vqcli cache ls

    Example: vqcli cache rm llamagen-vq16 --yes
    """
    from vqcli.jobs.cache import find_entries, list_cache, remove_entries

    if action == "ls":
        if names or everything:
            raise typer.BadParameter("ls lists all of it: names and --all are for rm")
        kept = list_cache()
        out.result(kept, lambda: _listed(kept), essential="\n".join(entry.name for entry in kept.entries))
        return
    if bool(names) == everything:
        raise typer.BadParameter("name what to remove, or give --all")
    chosen = find_entries(names) if names else list_cache().entries
    if chosen and not yes:
        _ask(out, chosen)
    done = remove_entries(chosen, out.progress())
    text = f"{done.folder}  {len(done.removed):,} removed, {_size(done.bytes)} freed"
    out.result(done, text, essential="\n".join(done.removed))


def _ask(out: Out, chosen: list[CacheEntry]) -> None:
    """Show what would go. Raises Abort where that is not wanted, and BadParameter where nobody can say so."""
    out.say(_table(chosen))
    if not sys.stdin or not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: give --yes")
    typer.confirm(f"Remove {len(chosen):,} of {_size(sum(e.bytes for e in chosen))}?", abort=True, err=True)


def _listed(kept: CacheList) -> str:
    total = f"{kept.folder}  {len(kept.entries):,} kept, {_size(kept.bytes)}"
    return "\n".join([_table(kept.entries), total] if kept.entries else [total])


def _table(entries: list[CacheEntry]) -> str:
    rows = [(e.name, e.kind, _size(e.bytes), e.used.replace("T", " ")[:-3], e.source) for e in entries]
    return table(["name", "kind", "size", "last used", "from"], rows)


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
