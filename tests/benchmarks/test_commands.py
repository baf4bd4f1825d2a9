"""The benchmarks of whole commands run, and their rivals do the same work."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("name", ["encode", "decode", "evaluate"])
def test_a_quick_look_tells_both_spans(name, tmp_path):
    out = tmp_path / "told.json"
    quick = ["--quick", "--models", "demo", "--repeats", "1", "--threads", "1", "--out", str(out)]
    subprocess.run([sys.executable, BENCHMARKS / f"{name}.py", *quick], check=True, capture_output=True)
    told = json.loads(out.read_text())
    work, all_ = told["rows"]
    assert told["threads"] == 1
    assert work["rivals"].keys() == all_["rivals"].keys() == work["peak_mb"].keys()
    for rival in work["rivals"]:
        assert 0 < work["rivals"][rival]["processor"] <= all_["rivals"][rival]["processor"]
