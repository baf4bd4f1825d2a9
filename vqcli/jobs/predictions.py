"""Predictions as files: CSV, or JSON lines; a line for every input, rejected ones too."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from vqcli import files
from vqcli.escapes import cell

Line = dict[str, Any]
"""``key``, ``status``, and ``predictions``, likeliest first, or ``reason`` and ``detail``."""
FORMS = (".csv", ".jsonl")
"""How their names end."""
COLUMNS = ("class", "name", "probability")
"""Of each prediction, with its rank behind: ``class_1``."""


def write_predictions(path: Path, lines: Iterable[Line], top: int) -> None:
    """Write lines with ``top`` predictions each, in the form that the name tells."""
    with files.writing(path) as file:
        if path.suffix.lower() == ".csv":
            _write_table(file, lines, top)
        else:
            for line in lines:
                file.write(json.dumps(line).encode() + b"\n")


def _write_table(file: IO[bytes], lines: Iterable[Line], top: int) -> None:
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
    rows = csv.writer(text)
    ranked = [f"{name}_{rank}" for rank in range(1, top + 1) for name in COLUMNS]
    rows.writerow(["key", "status", "reason", *ranked])
    for line in lines:
        told = [each[name] for each in line.get("predictions", ()) for name in COLUMNS]
        values = [cell(value) if isinstance(value, str) else value for value in told]
        row = [cell(line["key"]), line["status"], line.get("reason", ""), *values]
        rows.writerow([*row, *[""] * (len(ranked) - len(values))])
    text.detach()  # flushed; the file below is not this function's to close
