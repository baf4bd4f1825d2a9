"""The page of speeds shows the figures that were measured, and every claim can be measured again."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import performance

BENCHMARKS = Path(performance.__file__).parent


def test_the_page_shows_the_figures():
    claims = json.loads(performance.FIGURES.read_text())["claims"]
    page = performance.PAGE.read_text()
    assert performance.filled(page, claims) == page
    shown = re.findall(r"<!-- ([a-z-]+): written by", page)
    assert shown == [claim.name for claim in performance.CLAIMS]
    assert set(claims) <= set(shown)


@pytest.mark.parametrize("claim", performance.CLAIMS, ids=[claim.name for claim in performance.CLAIMS])
def test_a_claim_can_be_run(claim):
    script, *words = claim.words.split()
    done = subprocess.run([sys.executable, BENCHMARKS / script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    asked = {"--out", "--threads", "--busy", *(word for word in words if word.startswith("--"))}
    assert asked <= set(re.findall(r"--[a-z-]+", done.stdout))


def test_a_table_has_a_line_for_each_rival(tmp_path):
    spent = {"processor": 2.0, "wall": 1.0, "processor_ratio": 1.0, "wall_ratio": 1.0}
    slower = spent | {"processor_ratio": 1.5, "wall_ratio": 2.25}
    rows = [{"what": "work", "rivals": {"vqcli": spent, "other": slower}}]
    told = {"date": "2026-12-01", "machine": "M", "torch": "2.13.0+cpu", "rows": rows}
    page = "a\n<!-- one: written by benchmarks/performance.py -->\nold\n<!-- end -->\nb\n"
    made = performance.filled(page, {"one": {"1-idle": told, "2-busy": told}})
    assert made.splitlines()[-4] == "| work | 1 s | other | 1.50 / 2.25 | 1.50 / 2.25 |"
    assert made.startswith("a\n<!-- one")
    assert made.endswith("\n<!-- end -->\nb\n")
    assert performance.filled(made, {"one": {"1-idle": told, "2-busy": told}}) == made
