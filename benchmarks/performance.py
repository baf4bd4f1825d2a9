"""Measure all that docs/performance.md claims, and write the page's tables: ``make bench``.

    python benchmarks/performance.py                   # what is not measured yet, an hour or more
    python benchmarks/performance.py nearest decode    # these alone
    python benchmarks/performance.py --no-run          # the tables, from what is there

Every claim is a script that races its rivals in one process. It is run with one thread, with two, and with
two beside a process that keeps a core busy. What came of each is kept in ``out/bench``: a run that was
stopped goes on. Of claims that are not measured the page keeps what it had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout

from vqcli.cores import SPINNING, THREADS, WAITING, settle_threads

ROOT = Path(__file__).parents[1]
FIGURES, PAGE = ROOT / "docs" / "performance.json", ROOT / "docs" / "performance.md"


class Setting(NamedTuple):
    """How a claim is run."""

    threads: int
    busy: bool

    @property
    def name(self) -> str:
        """Of its column, and of its file."""
        return f"{self.threads}-{'busy' if self.busy else 'idle'}"


ALONE, BOTH, BUSY = Setting(1, False), Setting(2, False), Setting(2, True)


@dataclass(frozen=True)
class Claim:
    """A benchmark, and the words it is run with."""

    name: str
    words: str
    settings: tuple[Setting, ...] = (ALONE, BOTH, BUSY)


CLAIMS = (
    Claim("nearest", "nearest.py --repeats 2"),
    Claim("fvq-step", "fvq_step.py --repeats 1"),
    Claim("train-step", "train_step.py fvq-cifar10 fvq-262k-cifar10 --repeats 2"),
    Claim("encode", "encode.py --repeats 2"),
    Claim("decode", "decode.py --repeats 2"),
    Claim("evaluate", "evaluate.py --repeats 2 --counts 64"),
    Claim("generate", "generate_step.py --rows 2 4 8 16 32 --positions 0 128"),
    Claim("growth", "growth.py --repeats 1", (ALONE,)),
    Claim("threads", "threads.py --repeats 3", (BOTH, BUSY)),
)


def main() -> None:
    """Measure and write."""
    names = [claim.name for claim in CLAIMS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("claims", nargs="*", choices=[*names, []], default=[])
    parser.add_argument("--settings", nargs="+", choices=[x.name for x in (ALONE, BOTH, BUSY)], help="these")
    parser.add_argument("--no-run", action="store_true", help="write what is there")
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "bench")
    options = parser.parse_args()
    known = json.loads(FIGURES.read_text())["claims"] if FIGURES.is_file() else {}
    for claim in CLAIMS:
        if claim.name in (options.claims or names):
            if not options.no_run:
                measure(claim, options)
            if cells := known.get(claim.name, {}) | found(claim, options.out):
                known[claim.name] = cells
    FIGURES.write_text(json.dumps({"claims": known}, indent=1) + "\n")
    PAGE.write_text(filled(PAGE.read_text(), known))


def measure(claim: Claim, options: argparse.Namespace) -> None:
    """Run a claim in the settings that are not measured yet."""
    for setting in claim.settings:
        path = options.out / f"{claim.name}-{setting.name}.json"
        asked = not options.settings or setting.name in options.settings
        if asked and (options.again or not path.is_file()):
            script, *words = claim.words.split()
            command = [sys.executable, str(ROOT / "benchmarks" / script), *words, "--out", str(path)]
            command += ["--threads", str(setting.threads)] + ["--busy"] * setting.busy
            print("$", script, *words, setting.name, flush=True)
            subprocess.run(command, env=environment(setting.threads), check=True)


def environment(threads: int) -> dict[str, str]:
    """As vqcli gives it to itself."""
    made = {name: text for name, text in os.environ.items() if name not in (THREADS, SPINNING, WAITING)}
    made[THREADS] = str(threads)
    settle_threads(made)
    return made


def found(claim: Claim, out: Path) -> dict[str, Any]:
    """Setting -> machine, versions and rows."""
    there = {setting.name: out / f"{claim.name}-{setting.name}.json" for setting in claim.settings}
    return {
        name: json.loads(path.read_text()) | {"date": _date(path)}
        for name, path in there.items()
        if path.is_file()
    }


def _date(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()


def filled(page: str, claims: dict[str, Any]) -> str:
    """The page with its tables; what stands between them is written by hand."""
    for name, by_setting in claims.items():
        begin, end = f"<!-- {name}: written by benchmarks/performance.py -->\n", "<!-- end -->"
        before, mark, rest = page.partition(begin)
        if mark:
            page = f"{before}{begin}\n{table(by_setting)}\n{end}{rest.partition(end)[2]}"
    return page


def table(by_setting: dict[str, Any]) -> str:
    """A line for each work and rival: its time over ours, of processors / of a clock."""
    columns = {"1-idle": "1 thread", "2-idle": "2 threads", "2-busy": "2 threads, a core taken"}
    columns = {name: told for name, told in columns.items() if name in by_setting}
    first = next(iter(columns))
    head = ["work", f"vqcli, {columns[first]}", "against", *columns.values()]
    lines = [head, ["---"] * len(head)]
    for index, row in enumerate(by_setting[first]["rows"]):
        ours = seconds(row["rivals"]["vqcli"]["wall"])
        for rival in row["rivals"]:
            if rival != "vqcli":
                cells = [_ratios(by_setting[name]["rows"][index]["rivals"].get(rival)) for name in columns]
                lines.append([row["what"], ours, rival, *cells])
    told = by_setting[first]
    about = f"{told['date']}, {told['machine']}, torch {told['torch'].partition('+')[0]}.\n\n"
    return about + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _ratios(spent: dict[str, float] | None) -> str:
    return f"{spent['processor_ratio']:.2f} / {spent['wall_ratio']:.2f}" if spent else ""


def seconds(wall: float) -> str:
    """With three digits."""
    return f"{wall:.3g} s" if wall >= 1 else f"{1e3 * wall:.3g} ms"


if __name__ == "__main__":
    main()
