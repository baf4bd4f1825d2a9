"""``vqcli runs``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqcli.cli.output import Out
from vqcli.cli.text import table

if TYPE_CHECKING:
    from vqcli.jobs.runs import RunRow

COLUMNS = ("run", "trains", "state", "step", "usage", "PSNR", "rFID", "top-1", "changed", "size")


def runs(
    out: Out,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder with the runs, or one of them.")
    ] = Path("runs"),
) -> None:
    """List training runs: how far they are, what was measured, and when they last changed.

    What is stopped goes on with vqcli train --resume RUN. Usage is utilization on held-out images.

    Example: vqcli runs
    """
    from vqcli.jobs.runs import list_runs

    found = list_runs(folder, out.say)
    out.result(found, lambda: _table(found), essential="\n".join(str(run.folder) for run in found))


def _table(found: Sequence[RunRow]) -> str:
    """What was measured of no run has no column: a terminal is narrow."""
    columns = [column for column in zip(COLUMNS, *map(_row, found), strict=True) if any(column[1:])]
    head, *rows = zip(*columns, strict=True)
    return table(head, rows)


def _row(run: RunRow) -> tuple[str, ...]:
    steps = f"{int(run.steps):,}" if run.steps.isdecimal() else run.steps
    known = run.measured
    return (
        run.name,
        run.trains,
        run.state,
        f"{run.step:,} of {steps}",
        f"{known['utilization']:.2%}" if "utilization" in known else "",
        f"{known['psnr']:.2f}" if "psnr" in known else "",
        f"{known['rfid']:.2f}" if "rfid" in known else "",
        f"{known['top1']:.2%}" if "top1" in known else "",
        run.changed.replace("T", " ")[:-3],
        f"{run.bytes / 1e6:,.0f} MB",
    )
