"""Processes come together, or say why they do not."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.tiny import ENVIRONMENT, assert_same, start, write_recipe
from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.processes import meet


def launched(script, *arguments):
    """As ``two_processes``, but started one by one as a launcher does it, and ended as Python ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    everywhere = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=ENVIRONMENT | everywhere | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    ended = [process.communicate(timeout=120) for process in started]
    for process, (_, said) in zip(started, ended):
        assert process.returncode == 0, said
    assert ended[1][0] == ""  # the first process alone speaks
    return ended[0][0]


TRAIN = """
import os, sys
for name in ("RANK", "LOCAL_RANK"):
    os.environ[sys.argv[3] % name] = os.environ.pop(name)
os.environ[sys.argv[3] % "SIZE"] = os.environ.pop("WORLD_SIZE")
sys.argv[1:] = ["train", sys.argv[1], "-o", sys.argv[2], "--set", "training.steps=2", "-q", "--set",
                "training.validate_every=2"]
from vqcli.cli.app import main
main()
"""
"""A launcher of MPI names its variables in its own way."""


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_processes_without_a_gpu_train_together(tmp_path):
    recipe, run = write_recipe(tmp_path), tmp_path / "run"
    assert launched(TRAIN, recipe, run, "OMPI_COMM_WORLD_%s").strip() == str(run / "model")
    state = files.read_json(run / "checkpoints" / "step-00000002" / "state.json")
    assert state["environment"]["processes"] == 2


def test_the_recipe_alone_says_how_is_trained(tmp_path, monkeypatch):
    """``accelerate launch`` sets these for scripts that ask it; gradients were divided by them."""
    start(tmp_path / "plain", "training.steps=2")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    start(tmp_path / "launched", "training.steps=2")
    assert_same(tmp_path / "plain", tmp_path / "launched")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(VqcliError, match="an engine that is not used here: ACCELERATE_USE_FSDP"):
        start(tmp_path / "divided", "training.steps=2")


MEET = """
import sys
from datetime import timedelta
from vqcli.errors import VqcliError
from vqcli.jobs import processes
processes.UNKNOWN, processes.MEETING = 0, timedelta(seconds=2)
try:
    processes.meet("cpu")
except VqcliError as e:
    print(e.reason, e)
"""


@pytest.mark.parametrize(
    ("rank", "host", "why"),
    [(0, "127.0.0.1", "did not meet at 127.0.0.1:"), (1, "none.invalid", "did not meet at none.invalid:")],
)
def test_a_meeting_that_fails_is_one_sentence(rank, host, why):
    with socket.socket() as taken:  # the first process listens there itself
        taken.bind(("", 0))
        taken.listen()
        said = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": host}
        said["MASTER_PORT"] = str(taken.getsockname()[1])
        command = [sys.executable, "-c", MEET]
        done = subprocess.run(command, env=ENVIRONMENT | said, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("environment the 2 processes of this job " + why)


def test_one_process_meets_nobody(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert meet("cpu") == torch.device("cpu")
    assert not torch.distributed.is_initialized()
    assert "RANK" not in os.environ


LEAVES = """
import atexit, os, sys
from pathlib import Path

def threads():
    tasks = Path("/proc/self/task").iterdir()
    return sorted(name for task in tasks if "gloo" in (name := (task / "comm").read_text().strip()))

def tell():
    if os.environ["RANK"] == "0":
        print(threads())

atexit.register(tell)
from vqcli.jobs.processes import meet
meet("cpu")
import torch.distributed.nn.functional, accelerate
torch.distributed.barrier()
assert threads()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_no_thread_of_the_group_is_left_at_the_end():
    """One that still wants Python's lock then ends the process by an abort."""
    assert launched(LEAVES).strip() == "[]"
