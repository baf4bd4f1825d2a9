"""Malformed inputs: each gets a sentence, a reason and an exit code; nothing is hung, filled or left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

from tests.reliability.corpus.base import prepared
from tests.reliability.corpus.case import Case
from tests.reliability.server import HANGS, Ended, Server, shared
from tests.reliability.trials import Part, Trial

FAMILIES = (
    "checkpoints",
    "folders",
    "images",
    "labels",
    "lists",
    "names",
    "npz",
    "objects",
    "parquet",
    "recipes",
    "runs",
    "tars",
    "tensors",
    "tokens",
    "values",
)
MOST_MEMORY, LONGEST, MOST_SAID = 1 << 30, 60, 300
"""Bytes, seconds, and characters of an error."""
OUTPUTS = ("out", "out.npy", "out.json", "out.partial", "cache")
"""What a command may leave in the folder it ran in."""


class Malformed(Part):
    """All families."""

    name, figure, goal, share = "malformed", "malformed inputs", 800, 30

    def __init__(self) -> None:
        self.server = shared()

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        ready = base / self.name
        for family in FAMILIES:
            for case in import_module(f"tests.reliability.corpus.{family}").cases(seed):
                yield Trial(f"{family}/{case.name}", partial(tried, case, ready, self.server))


def tried(case: Case, base: Path, server: Server, _: Path) -> str:
    """``""`` if a case ends as it must, else how it does not."""
    prepared(base, server)
    folder = server.fresh()
    (folder / ".base").write_text(str(base))
    case.make(folder)
    arguments = [word.replace("{base}", str(base)) for word in case.command]
    before = _there(folder)
    ended = server.run(arguments, limit=LONGEST)
    return "; ".join(_wrong(case, ended)) or _left(before, folder, ended.code)


def _wrong(case: Case, ended: Ended) -> Iterator[str]:
    if ended.code == HANGS:
        yield f"hangs: {LONGEST} s"
        return
    said = ended.out + ended.err
    if "Traceback" in said or "internal error" in said:
        yield f"an internal error: {said[-400:]}"
    if ended.grown > MOST_MEMORY:
        yield f"took {ended.grown >> 20} MiB"
    if ended.code != case.code:
        yield f"exit code {ended.code}, not {case.code}: {said[:400]}"
    elif case.code in (1, 3) and "--json" in case.command:
        yield from _told(case, ended)
    elif case.code:
        said = ended.err or ended.out
        yield from _sentence(case, said.partition("error: ")[2].partition("\n")[0] or said)


def _told(case: Case, ended: Ended) -> Iterator[str]:
    try:
        value = json.loads(ended.out)
    except ValueError:
        yield f"no JSON: {ended.out[:200]} {ended.err[:200]}"
        return
    if case.code == 3:
        found = {each["reason"] for each in value["rejected"]} if value.get("rejected") else set()
        if not found or not found <= set(case.reason):
            yield f"rejected as {sorted(found)}, not {case.reason}: {ended.err[:200]}"
        return
    if value["reason"] not in case.reason:
        yield f"the reason is {value['reason']}, not {case.reason}: {value['error']}"
    if not value["hint"]:
        yield f"no hint: {value['error']}"
    yield from _sentence(case, value["error"])


def _sentence(case: Case, text: str) -> Iterator[str]:
    if not text or (case.code == 1 and len(text) > MOST_SAID) or len(text) > 2000:
        yield f"{len(text)} characters: {text[:100]}"
    if "\n" in text.strip() and case.code == 1:
        yield f"more than a line: {text!r}"
    if case.about and case.about not in text:
        yield f"does not name {case.about}: {text}"


def _there(folder: Path) -> set[str]:
    return {f"{where}/{name}" for where, _, names in os.walk(folder) for name in names}


def _left(before: set[str], folder: Path, code: int) -> str:
    now = _there(folder)
    if temporary := [path for path in now - before if ".tmp-" in path and "/cache/" not in path]:
        return f"leaves {temporary[:3]}"
    if gone := before - now:
        return f"removed {sorted(gone)[:3]}"
    allowed = tuple(f"{folder}/{name}" for name in OUTPUTS)
    if strange := [path for path in now - before if not path.startswith(allowed)]:
        return f"wrote {strange[:3]}"
    if code in (1, 2) and (folder / "out.npy").exists():
        return "left an output"
    return ""
