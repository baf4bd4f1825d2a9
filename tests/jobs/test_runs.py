"""A table of runs: how far each is, what was measured, and what is told of damaged ones."""

import json
import os

import pytest

from tests.locks import held_elsewhere
from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.runs import list_runs

USAGE = {
    "images": "8 images", "codebook_size": 16, "tokens": 128, "used": 14, "utilization": 0.875,
    "uniform_expectation": 0.99, "perplexity": 9.0, "psnr": 21.5, "rfid": 4.25,
}  # fmt: skip


def make_run(folder, *, task="tokenizer", steps=100, log=(), saved=(), finished=False, usage=None, at=1000):
    parts = {"tokenizer": {"codebook": {"name": "bridged", "size": 1024}}}
    if task == "generator":
        parts = {"tokenizer": "runs/demo", "generator": {"name": "gpt"}}
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(json.dumps({"task": task, **parts, "training": {"steps": steps}}))
    for line in log:
        files.append_line(folder / "metrics.jsonl", line)
    for step in saved:
        (folder / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    if finished:
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text("{}")
    if usage:
        (folder / "model" / "usage.json").write_text(json.dumps(usage))
    for path in folder.rglob("*"):
        os.utime(path, (at, at))
    return folder


def test_how_far_runs_are_and_what_was_measured(tmp_path):
    log = [{"step": 10, "l2": 0.5}, {"step": 20, "l2": 0.25}]
    log += [{"step": 20, "validation/psnr": 18.0, "validation/utilization": 0.5, "validation/other": 1}]
    make_run(tmp_path / "a", log=log, saved=(10, 25), at=3000)
    make_run(tmp_path / "b", log=log, finished=True, usage=USAGE, at=2000)
    make_run(tmp_path / "c", task="generator", steps="40 epochs", at=1000)
    (tmp_path / "no-run").mkdir()
    a, b, c = list_runs(tmp_path)
    assert (a.name, a.state, a.step, a.steps, a.trains) == ("a", "stopped", 25, "100", "bridged, 1,024 codes")
    assert a.measured == {"utilization": 0.5, "psnr": 18.0}
    assert (b.name, b.state, b.step) == ("b", "finished", 20)
    assert b.measured == {"utilization": 0.875, "psnr": 21.5, "rfid": 4.25}  # measured at export, and later
    assert (c.name, c.step, c.steps, c.trains, c.measured) == ("c", 0, "40 epochs", "gpt", {})
    assert b.bytes == sum(p.stat().st_size for p in (tmp_path / "b").rglob("*") if p.is_file())
    assert list_runs(tmp_path / "b") == [b]


def test_a_run_that_somebody_holds_is_running(tmp_path):
    run = make_run(tmp_path / "a", finished=True)
    assert not files.held(run)
    with held_elsewhere(run):
        assert list_runs(tmp_path)[0].state == "running"
        with pytest.raises(VqcliError, match="is in use"), files.locked(run):
            pass
    assert list_runs(tmp_path)[0].state == "finished"


def test_damaged_runs_are_shown_as_far_as_they_tell(tmp_path):
    run = make_run(tmp_path / "a", log=[{"step": 10}])
    (run / "recipe.yaml").write_text("task: [")
    with open(run / "metrics.jsonl", "a") as file:
        file.write("no JSON\n")
    (run / "model").mkdir()
    (run / "model" / "usage.json").write_text("[]")
    told = []
    (row,) = list_runs(tmp_path, told.append)
    assert (row.state, row.step, row.steps, row.trains, row.measured) == ("damaged", 10, "?", "?", {})
    assert [line for line in told if "recipe.yaml is damaged" in line]
    assert [line for line in told if "metrics.jsonl" in line]


def test_an_edited_recipe_is_told(tmp_path):
    run, told = make_run(tmp_path / "a"), []
    files.write_sealed_text(run / "recipe.yaml", "task: tokenizer\ntraining: {steps: 100}\n")
    text = (run / "recipe.yaml").read_text()
    assert list_runs(tmp_path, told.append)[0].steps == "100"
    assert told == []
    (run / "recipe.yaml").write_text(text.replace("100", "900"))
    assert list_runs(tmp_path, told.append)[0].steps == "900"
    assert told == [f"{run / 'recipe.yaml'} was edited since vqcli wrote it"]


def test_where_there_are_none(tmp_path):
    with pytest.raises(VqcliError, match="holds no runs"):
        list_runs(tmp_path)
    with pytest.raises(VqcliError, match="is no folder with runs") as refused:
        list_runs(tmp_path / "away")
    assert "vqcli train" in refused.value.hint
