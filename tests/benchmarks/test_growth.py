"""The benchmark of what grows runs, and its rivals do the same work."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import growth


@pytest.mark.parametrize("kind", growth.SIZES)
def test_rivals_see_the_same(tmp_path, kind):
    path = growth.MAKE[kind](tmp_path, 2345)
    found = {name: rival()(path) for name, rival in growth.RIVALS[kind].items()}
    if kind == "listing":
        assert len(found["vqcli"]) == found["os.walk"] == 2345
    elif kind == "usage":
        assert found["vqcli"].usage.used == np.count_nonzero(found["np.bincount"])
        assert found["vqcli"].usage.tokens == found["np.bincount"].sum()
    else:
        for name in ("keys", "labels"):
            assert list(found["vqcli"].column(name)) == found["json.loads"][name]


def test_memory_is_that_of_the_turn_alone(tmp_path):
    path = growth.make_sidecar(tmp_path, 200_000)
    ours, parsed = (growth.in_child("sidecar", name, path)["mb"] for name in ("vqcli", "json.loads"))
    assert ours < 5 < 20 < parsed


def test_a_quick_run_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    told = tmp_path / "growth.json"
    monkeypatch.setattr(
        sys, "argv", ["growth.py", "--quick", "--repeats", "1", "--only", "usage", "--out", str(told)]
    )
    monkeypatch.setattr(os, "environ", dict(os.environ))
    growth.main()
    rows = json.loads(told.read_text())["rows"]
    assert [row["what"] for row in rows] == ["--help", "usage of 1,000", "usage of 10,000"]
    assert all(spent["processor"] > 0 for row in rows for spent in row["rivals"].values())
    assert "np.bincount" in capsys.readouterr().out
