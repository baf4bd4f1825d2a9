"""Divided work: it goes on, it refuses what is another's, and processes share it or end together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.encoded import Stop, contents
from tests.jobs.toy_work import UNSAID, Squares, job
from tests.locks import held_elsewhere
from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs.places import vacant
from vqcli.jobs.sharded import Work

SUM = sum(k * k for k in range(6))


class Recorded:
    """A progress that keeps what it is told."""

    def __init__(self):
        self.begun, self.advanced = [], 0

    def start(self, what, total, unit, done=0):
        self.begun.append((what, total, unit, done))

    def advance(self, n=1):
        self.advanced += n

    def show(self, **numbers): ...

    def say(self, text): ...


def test_two_phases_come_to_what_they_should(tmp_path):
    progress = Recorded()
    assert job(tmp_path / "a", 6, progress=progress) == (SUM, SUM)
    assert progress.begun == [("square", 12, "numbers", 0), ("agree", 1, "images", 0)]
    assert sorted(contents(tmp_path / "a")) == ["agreed", "plan.json", *(f"square-{k}" for k in range(6))]


@pytest.mark.parametrize("at", [0, 2, 5])
def test_stopped_it_goes_on_and_does_nothing_twice(tmp_path, at):
    folder, progress, did = tmp_path / "a", Recorded(), []
    with pytest.raises(Stop):
        job(folder, 6, Squares(folder, 6, {at: Stop()}))
    (folder / f"{files.TEMPORARY}half").write_text("left by a kill")
    assert job(folder, 6, Squares(folder, 6, log=did.append), progress=progress) == (SUM, SUM)
    assert did == list(range(at, 6))
    assert (progress.begun[0], progress.advanced) == (("square", 12, "numbers", 2 * at), 12 - 2 * at)
    job(tmp_path / "whole", 6)
    assert contents(folder) == contents(tmp_path / "whole")
    job(folder, 6, Squares(folder, 6, log=did.append))
    assert len(did) == 6 - at


def test_another_plan_is_refused_and_told(tmp_path):
    folder = tmp_path / "a"
    job(folder, 6)
    (folder / "notes.txt").write_text("mine")
    before = contents(folder)
    digest = "ab" * 32
    for shards, more, told in (
        (5, {}, r"a holds other numbers: shards 6 -> 5$"),
        (
            6,
            {"named": ["x", "y"], "model": digest},
            "numbers: named None -> 2 names, model None -> abababab$",
        ),
        (6, {UNSAID: "b"}, "a holds other numbers: other salt$"),
    ):
        with pytest.raises(VqcliError, match=told) as refused:
            job(folder, shards, **more)
        assert (refused.value.reason, "--force" in refused.value.hint) == ("changed", True)
    assert contents(folder) == before
    assert job(folder, 5, force=True) == (30, 30)
    job(tmp_path / "fresh", 5)
    assert contents(folder) == contents(tmp_path / "fresh") | {"notes.txt": b"mine"}


def test_a_folder_is_one_process_s_and_checked_once_it_is(tmp_path):
    with held_elsewhere(tmp_path / "a"):
        assert vacant(tmp_path / "a")
        with pytest.raises(VqcliError, match="in use by another"):
            job(tmp_path / "a", 6)
    seen = []

    def taken():
        seen.extend(tmp_path.joinpath("a").iterdir())
        raise VqcliError("taken meanwhile")

    with pytest.raises(VqcliError, match="taken meanwhile"):
        job(tmp_path / "a", 6, check=taken)
    assert [path.name for path in seen] == [".lock"]
    assert job(tmp_path / "a", 6) == (SUM, SUM)
    assert not vacant(tmp_path / "a")


def test_effort_is_the_size_unless_batches_are_filled_up(tmp_path):
    class Filled(Squares):
        def effort(self, shards):
            return 10 * len(shards)

    folder, progress = tmp_path / "a", Recorded()
    with pytest.raises(Stop):
        job(folder, 6, Squares(folder, 6, {4: Stop()}))
    job(folder, 6, Filled(folder, 6), progress=progress)
    assert progress.begun[0] == ("square", 2 * 4 + 10 * 2, "numbers", 8)
    assert Work.effort(Squares(folder, 6), [1, 2]) == 4


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with what two processes made in each way, and what each of them told."""
    top = tmp_path_factory.mktemp("two")
    with pytest.raises(Stop):
        job(top / "share", 6, Squares(top / "share", 6, {1: Stop()}))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    command = [*launch, "tests.jobs.toy_work", str(top), "share", "fails", "breaks", "last", "early"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return top, [files.read_json(top / f"told-{rank}.json") for rank in (0, 1)]


def test_two_processes_do_what_one_does(tmp_path, two):
    top, told = two
    assert [each["share"] for each in told] == [[SUM, SUM]] * 2
    job(tmp_path / "one", 6)
    assert contents(top / "share") == contents(tmp_path / "one")


@pytest.mark.parametrize(
    ("how", "first", "second"),
    [
        ("fails", "VqcliError: shard 3 cannot be", "VqcliError: shard 3 cannot be"),
        (
            "breaks",
            "VqcliError: process 2 failed: ZeroDivisionError: of its own",
            "ZeroDivisionError: of its",
        ),
        ("last", "ZeroDivisionError: ", "VqcliError: process 1 failed: ZeroDivisionError: "),
        ("early", "VqcliError: early", "VqcliError: early"),
    ],
)
def test_an_error_on_one_process_ends_both(two, how, first, second):
    top, told = two
    assert told[0][how][0].startswith(first)
    assert told[1][how][0].startswith(second)
    if how == "fails":
        assert told[0][how][1] == told[1][how][1] == "leave it out"
    if how == "early":
        assert len(list((top / how).glob("square-*"))) < 500
    else:
        assert job(top / how, 6) == (SUM, SUM)
    assert not list((top / how).glob(f"{files.TEMPORARY}*"))
