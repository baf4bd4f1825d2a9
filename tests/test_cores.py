"""Threads that fit the cores there are, and wait asleep."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vqcli import cores
from vqcli.cores import crowded, free_cores, settle_threads


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Eight cores, and a container's folder to write a quota to."""
    monkeypatch.setattr(cores, "_given", lambda: 8)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    return tmp_path


def settled(processes=1, **environment):
    settle_threads(environment, processes)
    return environment


def test_threads_wait_asleep_unless_the_user_has_said_how(machine):
    assert settled() == {"GOMP_SPINCOUNT": "3000"}
    assert settled(GOMP_SPINCOUNT="7") == {"GOMP_SPINCOUNT": "7"}
    assert settled(OMP_WAIT_POLICY="active") == {"OMP_WAIT_POLICY": "active"}


@pytest.mark.parametrize("threads", [None, "", "many", "4,2"])
def test_processes_share_the_cores(machine, threads):
    said = {} if threads is None else {"OMP_NUM_THREADS": threads}
    assert settled(3, **said)["OMP_NUM_THREADS"] == "2"
    assert settled(1000, **said)["OMP_NUM_THREADS"] == "1"


def test_what_the_user_gives_each_process_stays(machine):
    assert settled(3, OMP_NUM_THREADS="5")["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({"cpu.max": "250000 100000\n"}, "3"),
        ({"cpu.max": "10000 100000\n"}, "1"),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "9000000 100000\n"}, None),
        ({"cpu.max": "odd"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "2"),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_a_containers_quota_counts(machine, files, threads):
    for name, text in files.items():
        (machine / name).parent.mkdir(exist_ok=True)
        (machine / name).write_text(text)
    assert settled().get("OMP_NUM_THREADS") == threads


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="told by Linux")
def test_a_busy_process_takes_a_core():
    allowed = os.sched_getaffinity(0)
    code = "print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as busy:
        busy.stdout.readline()
        os.sched_setaffinity(busy.pid, {min(allowed)})
        free = free_cores(0.3)
        busy.kill()
    assert free < len(allowed) - 0.8


def test_crowded_threads_are_told(machine):
    assert crowded(2, 1.0) == "only 1.0 of 8 cores are free: OMP_NUM_THREADS=1 may be faster"
    assert crowded(8, 2.6) == "only 2.6 of 8 cores are free: OMP_NUM_THREADS=3 may be faster"
    assert not any((crowded(2, 1.9), crowded(1, 0.1), crowded(2, None)))
