"""How quickly `vqcli --help` and `vqcli list` answer, against importing their command-line library alone.

Usage: python benchmarks/startup.py [--json]
Protocol: processor time (user + system) of a whole process, median of 15 interleaved runs after one warm-up.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

COMMANDS = {
    "import typer": ["-c", "import typer"],
    "--help": ["-m", "vqcli", "--help"],
    "list": ["-m", "vqcli", "list"],
}
RUNS = 15


def seconds(arguments: list[str]) -> float:
    """Processor seconds of one process."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Measure and print."""
    runs = [{name: seconds(arguments) for name, arguments in COMMANDS.items()} for _ in range(RUNS + 1)][1:]
    medians = {name: statistics.median(run[name] for run in runs) for name in COMMANDS}
    if "--json" in sys.argv:
        print(json.dumps(medians))
        return
    for name, value in medians.items():
        print(f"{name:<14}{value:.3f} s  {value / medians['import typer']:.2f}x")


if __name__ == "__main__":
    main()
