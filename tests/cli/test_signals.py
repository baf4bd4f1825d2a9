"""Signals stop what is done, without a traceback and without an ``error:``; what was finished is kept."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.models import make_model
from tests.training.tiny import ENVIRONMENT, write_recipe
from vqcli.library.references import newest_checkpoint

VQCLI = [sys.executable, "-m", "vqcli"]
ENCODE = ["demo:8000", "--device", "cpu", "-b", "4", "--num-workers", "0"]


def launch(*arguments, before=()):
    command = [*before, *VQCLI, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=ENVIRONMENT, text=True, **pipes)


def until(there, process, seconds=60):
    end = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


def shards(folder):
    return sorted(path.name for path in folder.glob("tokens-*.safetensors")) if folder.exists() else []


def test_a_stopped_job_keeps_its_shards_and_goes_on(tmp_path, model):
    """One signal after the other, the last asked for JSON."""
    out, seen = tmp_path / "tokens", 0
    numbers = (signal.SIGHUP, signal.SIGUSR1)
    for number in numbers:
        last = number == numbers[-1]
        process = launch("encode", *ENCODE, "-o", out, "-m", model, *(["--json"] if last else []))
        until(lambda seen=seen: len(shards(out)) > seen, process)
        process.send_signal(number)
        result, said = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert "error" not in said
        assert len(shards(out)) > seen
        seen = len(shards(out))
        told = "stopped; the same command goes on with what is finished"
        if last:
            assert json.loads(result) == {"error": told, "hint": "", "reason": "interrupted"}
        else:
            assert (result, said.splitlines()[-1]) == ("", told)


def test_what_nohup_ignores_stays_ignored(tmp_path, model):
    ignoring = ["sh", "-c", 'trap "" HUP INT; exec "$@"', "sh"]
    process = launch("encode", *ENCODE, "-o", tmp_path / "tokens", "-m", model, before=ignoring)
    until(lambda: shards(tmp_path / "tokens"), process)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    seen = len(shards(tmp_path / "tokens"))
    until(lambda: len(shards(tmp_path / "tokens")) > seen, process)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143


LOST = """
import os, signal, sys, time
from vqcli import signals
from vqcli.errors import Interrupted

class Freed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGUSR1)
        sum(range(1000))

signals.stop_at_once()
try:
    Freed()
    time.sleep(30)
except Interrupted as e:
    sys.exit(128 + e.signal)
"""


def test_a_signal_that_comes_where_python_drops_what_is_raised_is_not_lost():
    """While an object is freed, or a process is forked to read images."""
    done = subprocess.run(
        [sys.executable, "-c", LOST], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGUSR1, "")


def test_a_stopped_reconstruct_says_how_to_go_on(tmp_path, model):
    out = tmp_path / "again"
    command = ["reconstruct", "demo:2000", "-m", model, "-o", out, "--device", "cpu", "-b", "4"]
    process = launch(*command, "--num-workers", "0")
    until(lambda: out.exists() and any(out.rglob("*.png")), process)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert said.splitlines()[-1] == "stopped; the same command goes on with what is finished"


@pytest.mark.parametrize("seconds", [0.15, 0.5, 1.0])
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_ctrl_c_while_modules_are_loaded(tmp_path, model, seconds, form):
    process = launch("encode", *ENCODE, "-o", tmp_path / "tokens", "-m", model, *form)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    result, said = process.communicate(timeout=60)
    unborn = process.returncode == 1 and "Failed to import the site module" in said  # Python's own start
    assert unborn or process.returncode in (130, -signal.SIGINT)  # by itself, or by the system at first
    if process.returncode == 130 and form:
        assert (json.loads(result)["reason"], said) == ("interrupted", "")
    elif process.returncode == 130:
        assert (result, said.partition(";")[0].strip()) == ("", "stopped")


ENDLESS = ["--set", "training.steps=100000", "--set", "training.checkpoint_every=100000"]
ENDLESS += ["--set", "training.log_every=1", "--set", "training.validate_every=100000", "--device", "cpu"]


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_whole_group_that_is_told_to_stop_saves_a_checkpoint(tmp_path, number):
    """As Slurm tells it: to the run and to the processes that read its images, at the same time."""
    run = tmp_path / "run"
    command = [*VQCLI, "train", write_recipe(tmp_path), "-o", run, *ENDLESS, "--num-workers", "2"]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until(lambda: (run / "metrics.jsonl").exists(), process)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    step = int(re.search(r"^stopped at step (\d+); to go on: vqcli train --resume ", said, re.MULTILINE)[1])
    assert newest_checkpoint(run).name == f"step-{step:08d}"
    assert "Traceback" not in said


def test_a_terminal_that_is_closed_saves_a_checkpoint(tmp_path):
    """As when a connection breaks: the signal comes, and nothing can be written to the terminal."""
    run, recipe = tmp_path / "run", write_recipe(tmp_path)
    process, terminal = pty.fork()
    if process == 0:
        os.execve(sys.executable, [*VQCLI, "train", str(recipe), "-o", str(run), *ENDLESS], ENVIRONMENT)
    end = time.monotonic() + 60
    while not (run / "metrics.jsonl").exists():
        assert time.monotonic() < end
        os.read(terminal, 1 << 16)
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code == 128 + signal.SIGHUP
    assert newest_checkpoint(run) is not None
