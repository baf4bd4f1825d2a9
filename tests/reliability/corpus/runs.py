"""Runs whose log, state or recipe is damaged, for what reads them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.reliability.corpus.case import DEVICE, Case, Make
from tests.reliability.corpus.folders import base_of

LINES: dict[str, bytes] = {
    "text": b"hello\n",
    "half": b'{"step": 1, \n',
    "list": b"[]\n",
    "number": b"5\n",
    "null": b"null\n",
    "nan": b'{"step": 3, "loss": NaN}\n',
    "digits": b'{"step": ' + b"9" * 5000 + b"}\n",
    "deep": b"[" * 100_000 + b"\n",
    "step-text": b'{"step": "x"}\n',
    "step-none": b'{"step": null}\n',
    "no-step": b"{}\n",
    "step-list": b'{"step": []}\n',
    "values": b'{"step": 3, "total_loss": "x", "utilization": [], "lr": {}}\n',
    "utf-16": '{"step": 3}\n'.encode("utf-16"),
    "binary": bytes(range(256)) + b"\n",
    "zeros": bytes(4096) + b"\n",
    "long": b'{"step": 3, "x": "' + b"y" * (4 << 20) + b'"}\n',
    "torn": b'{"step": 3, "los',
}
SAID = ("damaged", "unfinished", "config", "changed", "input-missing", "no-info", "wrong-kind")


def run_with(name: str, data: bytes | None, add: bool = False) -> Make:
    """A copy of the run with another file."""

    def make(folder: Path) -> None:
        shutil.copytree(base_of(folder) / "run", folder / "runs" / "out")
        path = folder / "runs" / "out" / name
        if data is None:
            path.unlink()
        else:
            path.write_bytes((path.read_bytes() if add else b"") + data)

    return make


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""
    for name, line in LINES.items():
        make = run_with("metrics.jsonl", line, add=True)
        yield Case(f"runs-{name}", make, ("runs", "--json"), 0)
    for name, data in (("empty", b""), ("list", b"- a\n"), ("tag", b"task: !!int x\n"), ("nul", b"task: a\0b\n"), ("deep", b"a: " + b"[" * 5000),
                       ("digits", b"seed: " + b"9" * 5000 + b"\n"), ("task-list", b"task: [x]\n"), ("gone", None), ("binary", bytes(range(256)))):  # fmt: skip
        make = run_with("recipe.yaml", data)
        told = ("runs", "--json")
        yield Case(f"recipe-list-{name}", make, told, 0 if data else 1, () if data else ("input-empty",))
        yield Case(
            f"recipe-resume-{name}", make, ("train", "--resume", "runs/out", *DEVICE, "--json"), 1, SAID
        )
