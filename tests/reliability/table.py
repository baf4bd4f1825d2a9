"""Run all parts and write what came of them: ``python -m tests.reliability.table [--workers 2] [--no-run]``.

Reads ``out/reliability/PART-*.jsonl``; writes ``docs/reliability.json`` and the table in
``docs/reliability.md``. What was tried is not tried again, so that a run can be stopped and continued.
Of parts that are not named the docs keep what they had, with its date and commits.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.reliability.parts import PARTS, part

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BEGIN, END = "<!-- figures: written by tests/reliability/table.py -->", "<!-- end of figures -->"


def lines_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """How the trials of a part ended; the last word on each counts."""
    known: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob(f"{name}-*.jsonl")):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                found = json.loads(line)
                known[found["name"]] = found
    return list(known.values())


def today() -> str:
    """As ISO 8601 has it."""
    return datetime.now(UTC).date().isoformat()


def machine() -> str:
    """What it ran on, without names."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.system()}, {platform.machine()}, {os.cpu_count()} cores, {gib:.0f} GiB of memory"


def row(folder: Path, name: str, seed: int) -> dict[str, Any]:
    """What came of a part."""
    one, lines = part(name), lines_of(folder, name)
    wrong = [{"name": line["name"], "wrong": line["wrong"][:300]} for line in lines if line["wrong"]]
    return {
        "part": name,
        "figure": one.figure,
        "goal": one.goal,
        "tried": sum(line["count"] for line in lines),
        "trials": len(lines),
        "violations": len(wrong),
        "minutes": round(sum(line["seconds"] for line in lines) / 60, 1),
        "date": today(),
        "builds": sorted({line["build"] for line in lines}),
        "seed": seed,
        "command": f"python -m tests.reliability {name} --seed {seed}",
        "wrong": wrong[:20],
    }


def run(parts: list[str], seed: int, workers: int, out: Path, environment: dict[str, str]) -> None:
    """Try what is left, part by part, shared by several processes."""
    for name in parts:
        words = [sys.executable, "-m", "tests.reliability", name, "--seed", str(seed), "--out", str(out)]
        first = [*words, "--number", "1"]  # makes what trials start from, once
        subprocess.run(first, cwd=ROOT, env=environment, check=False)
        each = [
            subprocess.Popen([*words, "--worker", f"{k}/{workers}"], cwd=ROOT, env=environment)
            for k in range(workers)
        ]
        for process in each:
            process.wait()


def table(rows: list[dict[str, Any]]) -> str:
    """For people and for the page, in Markdown."""
    head = "| part | figure | at least | tried | did not hold | minutes | date |\n" + "|---" * 7 + "|\n"
    names = ("figure", "goal", "tried", "violations", "minutes", "date")
    cells = [[r[name] if isinstance(r[name], str) else f"{r[name]:,}" for name in names] for r in rows]
    return head + "".join(f"| `{r['part']}` | {' | '.join(row)} |\n" for r, row in zip(rows, cells))


def price(told: dict[str, Any] | None) -> str:
    """What reliability costs, as ``benchmarks/bench_reliability.py`` measured it."""
    if not told:
        return ""
    head = "| price | at most | measured |\n|---|---|---|\n"
    return (
        "\n" + head + "".join(f"| {p['what']} | {p['limit']} | {p['measured']} |\n" for p in told["prices"])
    )


def write(rows: list[dict[str, Any]], seed: int, priced: Path) -> None:
    """Put the figures into ``docs``, beside those that are there of other parts."""
    figures = DOCS / "reliability.json"
    known = json.loads(figures.read_text()) if figures.is_file() else {}
    told = json.loads(priced.read_text()) if priced.is_file() else known.get("price")
    every = {row["part"]: row for row in [*known.get("parts", ()), *rows]}
    rows = [every[name] for name in PARTS if name in every]
    builds = sorted({build for row in rows for build in row["builds"]})
    found = {"date": today(), "commits": builds, "machine": machine(), "seed": seed, "parts": rows}
    found |= {"price": told} if told else {}
    figures.write_text(json.dumps(found, indent=2) + "\n")
    page = DOCS / "reliability.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    told_builds = f"commit{'s' * (len(builds) > 1)} `{'`, `'.join(builds)}`"
    about = f"{found['date']}, {told_builds}, seed {seed}, {found['machine']}; `make test-reliability`.\n"
    page.write_text(f"{before}{BEGIN}\n\n{about}\n{table(rows)}{price(told)}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-run", action="store_true", help="assemble what is there")
    parser.add_argument("--no-docs", action="store_true", help="print the table alone")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "reliability")
    arguments = parser.parse_args()
    parts = [name for name in PARTS if name in (arguments.parts or PARTS)]
    if not arguments.no_run:
        run(
            parts,
            arguments.seed,
            arguments.workers,
            arguments.out,
            {"OMP_NUM_THREADS": "1"} | dict(os.environ),
        )
    rows = [row(arguments.out, name, arguments.seed) for name in parts]
    print(table(rows))
    if not arguments.no_docs:
        write(rows, arguments.seed, arguments.out / "price.json")
    sys.exit(1 if any(r["violations"] or r["tried"] < r["goal"] for r in rows) else 0)


if __name__ == "__main__":
    main()
