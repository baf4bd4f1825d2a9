"""A run that was stopped and resumed is the run that was not, to the last bit."""

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.training.tiny import (
    COMMAND,
    ENVIRONMENT,
    Recorded,
    assert_same,
    damage,
    leftovers,
    metrics,
    resume,
    start,
    write_recipe,
)
from vqcli import files
from vqcli.cli.app import app
from vqcli.errors import Interrupted, VqcliError
from vqcli.library.references import checkpoints, newest_checkpoint
from vqcli.losses.pixel import L2Loss

PLAIN = ()
RICH = ("training.accumulate=2", "training.average=0.9", "schedule.decay=cosine")
WORKERS = ("data.num_workers=2",)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs that nothing stopped, one for each of the settings."""
    runs = {}

    def of(settings):
        if settings not in runs:
            runs[settings] = tmp_path_factory.mktemp("whole") / "run"
            start(runs[settings], *settings)
        return runs[settings]

    return of


@pytest.mark.parametrize(
    ("settings", "stops"),
    [
        (PLAIN, (3,)),  # in the middle of an epoch and of a line of metrics
        (PLAIN, (4, 6)),  # between two epochs, and again; step 6 is measured
        (PLAIN, (8,)),  # trained to the end, not yet exported
        (RICH, (5,)),
        (WORKERS, (3, 4)),
    ],
)
def test_stopped_and_resumed_is_the_same_run(tmp_path, whole, settings, stops):
    run = tmp_path / "run"
    for i, stop in enumerate(stops):
        with pytest.raises(Interrupted, match=f"stopped at step {stop}"):
            (resume if i else start)(run, *(() if i else settings), progress=Recorded(stop))
        assert newest_checkpoint(run).name == f"step-{stop:08d}"
    resume(run)
    assert_same(run, whole(settings))


def test_workers_do_not_matter(whole):
    assert metrics(whole(PLAIN)) == metrics(whole(WORKERS))


def test_metrics_have_each_step_once(whole):
    lines = metrics(whole(PLAIN))
    assert [line["step"] for line in lines if "l2" in line] == [2, 4, 6, 8]
    assert [line["step"] for line in lines if "validation/psnr" in line] == [3, 6, 8]


def test_resuming_a_finished_run_changes_nothing(tmp_path, whole):
    run = tmp_path / "run"
    start(run)
    resume(run)
    assert_same(run, whole(PLAIN))


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path, whole):
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, progress=Recorded(3))
    shutil.rmtree(newest_checkpoint(run))
    resume(run, progress=(said := Recorded()))
    assert f"{run} has no checkpoint yet: it starts at step 0" in said.said
    assert_same(run, whole(PLAIN))


def contents(run):
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_without_a_whole_checkpoint_nothing_is_touched(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, "training.checkpoint_every=2", progress=Recorded(5))
    named = []
    for checkpoint in checkpoints(run):
        damage(checkpoint / "model.safetensors")
        named.insert(0, f"step {int(checkpoint.name[5:])} is damaged: {checkpoint}/model.safetensors")
    before = contents(run)
    with pytest.raises(VqcliError, match=re.escape(f"{run} has no whole checkpoint; {'; '.join(named)}")):
        resume(run)
    assert contents(run) == before


def test_a_damaged_checkpoint_is_named_and_an_older_one_taken(tmp_path, whole):
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, "training.checkpoint_every=2", progress=Recorded(5))
    wrong = newest_checkpoint(run) / "state.json"
    damage(wrong)
    resume(run, progress=(said := Recorded()))
    assert f"{run} goes on from step 4; step 5 is damaged: {wrong}" in said.said
    assert_same(run, whole(PLAIN))


def test_a_checkpoint_that_cannot_be_read_stops_the_run(tmp_path, monkeypatch):
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, progress=Recorded(5))
    unreadable, real = newest_checkpoint(run) / "model.safetensors", os.open

    def refuse(path, *arguments, **options):
        if Path(path) == unreadable:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments, **options)

    before = contents(run)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VqcliError, match=f"cannot read {unreadable}: Permission denied"):
        resume(run)
    assert contents(run) == before


def test_a_checkpoint_that_a_kill_left_too_many_goes(tmp_path, whole):
    """It came between the last one and the removal of the one before; no other one follows."""
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, "training.keep=1", progress=Recorded(8))
    shutil.copytree(newest_checkpoint(run), run / "checkpoints" / "step-00000004")
    resume(run)
    assert [folder.name for folder in checkpoints(run)] == ["step-00000008"]
    assert_same(run, whole(PLAIN))


def test_a_finished_run_without_checkpoints_is_not_made_again(tmp_path):
    start(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = contents(tmp_path / "run")
    with pytest.raises(VqcliError, match="is finished, and has no checkpoint to go on from"):
        resume(tmp_path / "run")
    assert contents(tmp_path / "run") == before


def test_damaged_lines_of_the_log_are_told_and_passed_over(tmp_path, whole):
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, progress=Recorded(5))
    log = run / "metrics.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"step": 2', b'"step": 2\x7f"', 1))
    resume(run, progress=(said := Recorded()))
    assert f"{log}: 1 damaged line is passed over" in said.said
    assert metrics(run) == metrics(whole(PLAIN))[1:]


def test_leftovers_of_a_killed_writer_are_cleaned(tmp_path, whole):
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, progress=Recorded(6))
    (run / "checkpoints" / ".tmp-1234-step-00000007").mkdir()
    (run / ".tmp-1234-model").mkdir()
    (run / "samples").mkdir(exist_ok=True)
    (run / "samples" / ".tmp-1234-x.png").write_bytes(b"half")
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "l2": 0.')
    resume(run)
    assert leftovers(run) == []
    assert_same(run, whole(PLAIN))


def test_no_pickles(whole):
    names = [path.name for path in whole(RICH).rglob("*") if path.is_file()]
    assert {name.rpartition(".")[2] for name in names} == {
        "yaml", "jsonl", "json", "safetensors", "png", "svg", "md", "lock"
    }  # fmt: skip


def launch(*arguments):
    process = [*COMMAND, *map(str, arguments), "--device", "cpu"]
    return subprocess.Popen(process, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def reach(process, condition, seconds=60):
    """Wait until a process has come so far."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)


def finish(run, *arguments):
    """Resume to the end. Data processes of a killed run may hold its lock for some seconds."""
    for _ in range(20):
        process = launch("--resume", run, *arguments)
        _, talk = process.communicate(timeout=120)
        if "in use" not in talk:
            break
        time.sleep(0.5)
    assert process.returncode == 0, talk


LONG = ("--set", "training.steps=40", "--set", "training.log_every=1", "--set", "training.validate_every=70")


def metrics_lines(run):
    path = run / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def stop_by(run, number, *arguments):
    """The command in this process, and a thread that sends the signal once two more steps are logged."""
    seen = len(metrics_lines(run))

    def send():
        while len(metrics_lines(run)) < seen + 2:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    result = CliRunner().invoke(app, ["train", *map(str, arguments), "--device", "cpu"])
    thread.join()
    return result


def test_signals_and_a_kill(tmp_path):
    """SIGINT, then SIGTERM, then kill -9, each in the middle of things, through the command line."""
    run, other = tmp_path / "run", tmp_path / "other"
    recipe, seen = write_recipe(tmp_path), 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        result = stop_by(run, number, *(["--resume", run] if seen else [recipe, "--out", run, *LONG]))
        assert result.exit_code == code, result.output
        stopped = int(
            re.search(
                r"^stopped at step (\d+); to go on: vqcli train --resume ", result.stderr, re.MULTILINE
            )[1]
        )
        assert newest_checkpoint(run).name == f"step-{stopped:08d}"
        assert stopped == len(metrics_lines(run)) > seen
        seen = stopped
    process = launch("--resume", run, "--set", "training.checkpoint_every=1")
    reach(process, lambda: len(metrics_lines(run)) > seen + 2)
    process.kill()
    process.communicate()
    again = CliRunner().invoke(app, ["train", "--resume", str(run), "--device", "cpu", "--json"])
    assert again.exit_code == 0, again.output
    start(other, *[x for x in LONG if x != "--set"])
    assert_same(run, other)
    assert leftovers(run) == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_random_moments(tmp_path, workers):
    """kill -9 again and again, most often while a checkpoint is written, until the run is through."""
    rng, run, other = random.Random(workers), tmp_path / "run", tmp_path / "other"
    settings = ["training.steps=40", "training.keep=1", "training.average=0.9", f"data.num_workers={workers}"]
    often = [x for s in (*settings, "training.checkpoint_every=1") for x in ("--set", s)]
    first, kills = [write_recipe(tmp_path), "--out", run, *often], 0
    while kills < 12:
        process = launch(*(["--resume", run] if (run / "recipe.yaml").exists() else first))
        before = len(checkpoints(run)) and checkpoints(run)[-1].name
        talk = ""
        try:
            reach(process, lambda: len(checkpoints(run)) and checkpoints(run)[-1].name != before)  # noqa: B023
        except AssertionError as e:  # it ended by itself: in use, or done
            talk = str(e)
            if "in use" not in talk:
                break
            continue
        time.sleep(rng.random() * 0.2)
        process.kill()
        process.communicate()
        kills += 1
        assert newest_checkpoint(run) is not None
    finish(run)
    start(other, *settings, "training.checkpoint_every=1")
    assert kills > 3
    assert_same(run, other)
    assert leftovers(run) == []


def test_optimizer_state_is_complete(whole):
    checkpoint = newest_checkpoint(whole(PLAIN))
    model, moments = (load_file(checkpoint / f"model{kind}.safetensors") for kind in ("", ".optimizer"))
    assert len(moments) == 3 * len(model)  # step and two moments each
    assert all(x.item() == 8 for name, x in moments.items() if name.endswith(".step"))


def test_random_draws_go_on_where_they_were(tmp_path, monkeypatch):
    def noisy(self, reconstruction, images):
        return torch.rand(()) * (reconstruction - images).square().mean()

    monkeypatch.setattr(L2Loss, "forward", noisy)
    start(tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(tmp_path / "run", progress=Recorded(3))
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_options_that_have_come_since_do_not_stop_a_run(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(run, progress=Recorded(stop_at=3))
    path = newest_checkpoint(run) / "state.json"
    state = json.loads(path.read_text())
    older = {key: value for key, value in state["settings"].items() if key not in ("freeze", "optimizer.eps")}
    path.write_text(json.dumps(state | {"settings": older}))
    (path.parent / "manifest.json").write_text(json.dumps({"files": files.manifest(path.parent)}))
    with pytest.raises(
        VqcliError, match=r"the recipe changed since the checkpoint: optimizer.eps 1e-08 -> 0.1$"
    ):
        resume(run, "optimizer.eps=0.1")
    assert resume(run).steps == 8


def test_features_may_be_gone_when_a_run_goes_on(tmp_path):
    save_file({"codes": torch.randn(16, 6)}, tmp_path / "features.safetensors")
    book = {"name": "projected", "size": 16, "width": 8, "base": str(tmp_path / "features.safetensors")}
    settings = f"tokenizer.codebook={json.dumps(book | {'base_width': 6})}"
    start(tmp_path / "whole", settings)
    with pytest.raises(Interrupted):
        start(tmp_path / "run", settings, progress=Recorded(stop_at=3))
    (tmp_path / "features.safetensors").unlink()
    resume(tmp_path / "run")
    assert_same(tmp_path / "whole", tmp_path / "run")
