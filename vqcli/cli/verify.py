"""``vqcli verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqcli.cli.options import option
from vqcli.cli.output import UNCLEAN, Out
from vqcli.cli.text import counted, table

if TYPE_CHECKING:
    from vqcli.jobs.verify import VerifyResult


def verify(
    out: Out,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE",
            help="A run, model, tokens, codebook, evaluation, unfinished job, images made by vqcli, or a "
            "folder of these, such as the cache.",
        ),
    ],
    seal: Annotated[
        bool, option("--seal", help="Take text that was edited, such as tokens.json, as it is from now on.")
    ] = False,
) -> None:
    """Check what vqcli wrote: every hash, anew, and count, what is missing, and how to make it again.

    Ends with 0 if all is whole, 1 if something is damaged or missing, 3 if something is only unfinished.

    Example: vqcli verify runs/demo

    Example: vqcli verify --seal tokens.json
    """
    from vqcli.jobs.verify import verify as run

    found = run(path, seal=seal, progress=out.progress())
    out.result(found, lambda: _text(found), essential=found.state)
    if found.state == "damaged":
        raise typer.Exit(1)
    if found.state == "unfinished":
        raise typer.Exit(UNCLEAN)


def _text(found: VerifyResult) -> str:
    of = ", ".join(f"{number:,} of {what}" for what, number in found.kinds.items())
    lines = [f"{each}  taken as it is" for each in found.sealed]
    if found.findings:
        rows = [(each.state, each.what, each.again) for each in found.findings]
        lines.append(table(["state", "what", "how it can be made again"], rows))
    state = "all are as they were written" if found.state == "whole" else f"state: {found.state}"
    return "\n".join([*lines, f"{found.path}  {counted(found.files, 'file')} checked ({of}): {state}"])
