"""``vqcli doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from vqcli.cli.output import UNCLEAN, Out
from vqcli.cli.text import counted, fields, paragraph

if TYPE_CHECKING:
    from vqcli.jobs.doctor import Diagnosis


def doctor(out: Out) -> None:
    """Show versions, devices and problems, to paste into a report.

    Exit code 3 if there is a problem.

    Example: vqcli doctor
    """
    from vqcli.jobs.doctor import diagnose

    found = diagnose()
    out.result(found, lambda: _text(found), essential="\n".join(p.message for p in found.problems) or None)
    if found.problems:
        raise typer.Exit(UNCLEAN)


def _ways(ways: dict[int, str]) -> str:
    return ", ".join(f"codes of {width} by {way}" for width, way in ways.items())


def _text(found: Diagnosis) -> str:
    lines = [(name, version or "not installed") for name, version in found.versions.items()]
    memory = found.memory_available
    lines += [
        ("devices", ", ".join(found.devices) or "none"),
        *((f"search on {device}", _ways(ways)) for device, ways in found.search.items()),
        ("cores", _cores(found)),
        ("memory", f"{memory >> 20:,} MiB available" if memory is not None else "unknown"),
        ("disk", f"{found.disk_free >> 20:,} MiB free here"),
    ]
    lines += [*found.environment.items(), *(("plugin", module) for module in found.plugins)]
    lines += [(f"extra {extra}", line) for extra, line in found.missing_extras.items()]
    text = [fields(lines)]
    for problem in found.problems:
        text += ["", paragraph(f"problem: {problem.message}"), paragraph(f"hint: {problem.hint}")]
    told = f"{counted(len(found.problems), 'problem')} found" if found.problems else "ok: no problem found"
    return "\n".join([*text, "", told])


def _cores(found: Diagnosis) -> str:
    free = "" if found.free_cores is None else f" ({found.free_cores:.1f} free now)"
    threads = f", torch uses {found.threads} threads" if found.threads else ""
    return f"{found.cpu_count}{free}{threads}" + (f"; {found.crowded}" if found.crowded else "")
