"""The tables of the study of utilization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from utilization_systems import SYSTEMS, System

Cell = Mapping[str, Any]
"""What came out of one training run: ``system``, ``codebook_size``, ``utilization`` ..."""


def table(cells: Sequence[Cell]) -> str:
    """Markdown, a row for each system and number of codes; several seeds as mean and range."""
    names = (
        "system",
        "K",
        "seeds",
        "utilization",
        "seen once",
        "yet to be seen (Chao)",
        "perplexity",
        "PSNR",
    )
    names = (*names, "rate", "steps", "seconds")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for size in sorted({cell["codebook_size"] for cell in cells}):
        for system in SYSTEMS:
            rows = [c for c in cells if (c["system"], c["codebook_size"]) == (system, size)]
            if rows:
                lines.append(_row(system, size, sorted(rows, key=lambda cell: cell["seed"])))
    return "\n".join(lines) + "\n"


def _row(system: str, size: int, rows: Sequence[Cell]) -> str:
    """What the seeds of a system and number of codes came to."""
    told = partial(_told, rows)
    cells = [
        SYSTEMS[system].title,
        f"{size:,}",
        ", ".join(str(row["seed"]) for row in rows),
        told("utilization", "{:.2%}"),
        told("once", "{:,.0f}"),
        told("unseen_estimate", "{:,.0f}"),
        told("perplexity", "{:,.0f}"),
        told("psnr", "{:.2f}"),
        rate(rows[0]["rate"]),
        told("steps", "{:,.0f}"),
        told("seconds", "{:,.0f}"),
    ]
    return f"| {' | '.join(cells)} |"


def _told(rows: Sequence[Cell], name: str, form: str) -> str:
    """A number of several seeds: their mean, and the least and the most where they differ."""
    values = [row[name] for row in rows if row[name] is not None]
    if not values:
        return ""
    mean, *ends = (form.format(x) for x in (sum(values) / len(values), min(values), max(values)))
    return mean + (f" ({' to '.join(ends)})" if ends[0] != ends[1] else "")


def trials_table(cells: Sequence[Cell], systems: Mapping[str, System]) -> str:
    """Markdown, a row for each form and number of codes, every seed told."""
    names = ("form", "K", "seeds", "utilization", "codes not seen", "perplexity", "PSNR", "seconds")
    numbers = (("perplexity", "{:,.0f}"), ("psnr", "{:.2f}"), ("seconds", "{:,.0f}"))
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for size in sorted({cell["codebook_size"] for cell in cells}):
        for name, system in systems.items():
            rows = [c for c in cells if (c["system"], c["codebook_size"]) == (name, size)]
            if not rows:
                continue
            rows.sort(key=lambda cell: cell["seed"])
            each = ", ".join(f"{100 * row['utilization']:.2f}" for row in rows) + " %"
            unseen = ", ".join(f"{size - row['used']:,}" for row in rows)
            seeds = ", ".join(str(row["seed"]) for row in rows)
            told = [_told(rows, *number) for number in numbers]
            lines.append(f"| {' | '.join([system.title, f'{size:,}', seeds, each, unseen, *told])} |")
    return "\n".join(lines) + "\n"


def rate(found: Mapping[str, float]) -> str:
    """``0.0015``, ``0.0015, codes x 30``."""
    factor = found["codebook_rate"]
    return f"{found['lr']:g}" + (f", codes x {factor:g}" if factor != 1 else "")


def rates_table(cells: Sequence[Cell]) -> str:
    """Markdown: PSNR of every system with each rate of the grid; the chosen one is bold."""
    rates = sorted({(c["rate"]["codebook_rate"], c["rate"]["lr"]) for c in cells})
    names = [rate({"lr": lr, "codebook_rate": factor}) for factor, lr in rates]
    lines = [f"| system | {' | '.join(names)} |", "|---" * (len(rates) + 1) + "|"]
    for name, system in SYSTEMS.items():
        psnr = {
            (c["rate"]["codebook_rate"], c["rate"]["lr"]): c["psnr"] for c in cells if c["system"] == name
        }
        if psnr:
            best = max(psnr.values())
            told = [f"{psnr[x]:.2f}" if x in psnr else "" for x in rates]
            told = [f"**{text}**" if x in psnr and psnr[x] == best else text for x, text in zip(rates, told)]
            lines.append(f"| {system.title} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"
