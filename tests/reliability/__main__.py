"""Run parts, or all: ``python -m tests.reliability [PART...] [--only TEXT] [--number N] [--seed S]``.

What has been tried is kept in ``DIR/PART-WORKER.jsonl`` and not tried again, so that a run can be stopped and
continued. Several runs may share the work: ``--worker 0/2`` and ``--worker 1/2``.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.reliability.parts import PARTS, part
from tests.reliability.server import close_shared
from tests.reliability.trials import Part, Trial, drawn, mine


def build() -> str:
    """The commit of the sources that are tried; with a plus where they differ from any."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/vqcli", ":/tests")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def tried(trial: Trial, of: str = "") -> dict[str, object]:
    """How a trial of a build ended, as a line of the results."""
    folder, began = Path(tempfile.mkdtemp(prefix="trial-")), time.monotonic()
    try:
        wrong = trial.run(folder)
    except Exception:
        wrong = "the trial itself failed: " + traceback.format_exc()[-1500:]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.monotonic() - began, 3)
    return {"name": trial.name, "count": trial.count, "wrong": wrong, "seconds": seconds, "build": of}


def run(one: Part, arguments: argparse.Namespace) -> int:
    """Try what is left of a part; how many trials did not hold."""
    worker, _, workers = arguments.worker.partition("/")
    results = arguments.out / f"{one.name}-{worker}.jsonl"
    known = {}
    for path in sorted(arguments.out.glob(f"{one.name}-*.jsonl")):
        lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        known |= {line["name"]: line for line in map(json.loads, lines)}
    trials = [t for t in one.trials(arguments.out / "base", arguments.seed) if arguments.only in t.name]
    if arguments.number:
        trials = drawn(trials, arguments.number, arguments.seed)
    todo = [t for t in trials if mine(t, int(worker), int(workers))]
    todo = [t for t in todo if t.name not in known or (arguments.again and known[t.name]["wrong"])]
    bad, of = 0, build()
    try:
        for n, trial in enumerate(todo, 1):
            line = tried(trial, of)
            with results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            if line["wrong"]:
                bad += 1
                print(f"WRONG {trial.name}: {line['wrong']}", flush=True)
            if n % 100 == 0:
                print(f"{one.name}: {n} of {len(todo)}, {bad} wrong", file=sys.stderr, flush=True)
    finally:
        one.close()
    print(f"{one.name}: {len(todo)} trials, {bad} wrong ({len(trials) - len(todo)} known or others')")
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--only", default="", help="trials whose names hold this text")
    parser.add_argument("--number", type=int, default=0, help="so many, spread over the kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", default="0/1")
    parser.add_argument("--again", action="store_true", help="try again what did not hold")
    parser.add_argument("--out", type=Path, default=Path("out/reliability"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.out = arguments.out.resolve()
    try:
        bad = sum(run(part(name), arguments) for name in arguments.parts or PARTS)
    finally:
        close_shared()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
