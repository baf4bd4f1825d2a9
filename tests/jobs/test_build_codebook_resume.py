"""Building codebooks from features: kills without trace, processes that share, and what is in the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.jobs.encoded import Stop
from tests.jobs.features import SOURCE, build, opened, solid
from tests.locks import held_elsewhere
from tests.processes import two_processes
from vqcli import files
from vqcli.errors import VqcliError
from vqcli.jobs import feature_shards
from vqcli.jobs.build_codebook import CodebookOptions, build_codebook
from vqcli.jobs.feature_shards import FeatureOptions
from vqcli.nn import kmeans


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_shards, "SHARD", 4)


@pytest.mark.parametrize("per_class", [False, True])
def test_stopped_at_every_write_it_ends_with_the_same_bytes(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, per_class: bool
) -> None:
    colours = {
        f"{name}/{i}.png": (7 * i, i * i, base) for name, base in (("a", 0), ("b", 90)) for i in range(6)
    }
    folder = solid(tmp_path / "in", colours)
    whole = tmp_path / "whole.safetensors"
    build(folder, whole, size=8, per_class=per_class)
    writing = files.writing
    for stop in range(100):
        out, done = tmp_path / str(stop) / "f.safetensors", []

        def failing(path: Path, stop: int = stop, done: list = done):  # type: ignore[no-untyped-def]
            if len(done) == stop:
                raise Stop
            done.append(path)
            return writing(path)

        with monkeypatch.context() as patch:
            for place in (files, sys.modules["vqcli.files.writing"]):  # what calls it, and what others call
                patch.setattr(place, "writing", failing)
            try:
                build(folder, out, size=8, per_class=per_class)
                break
            except Stop:
                assert not out.exists()
        build(folder, out, size=8, per_class=per_class)
        assert out.read_bytes() == whole.read_bytes()
    assert stop > 8
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_finished_work_is_not_done_again(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, remove = tmp_path / "f.safetensors", files.remove_folder

    def stop(folder: Path) -> None:
        raise Stop

    with monkeypatch.context() as patch:  # killed between the last file and the end
        patch.setattr(files, "remove_folder", stop)
        with pytest.raises(Stop):
            build("demo:10", out)
    before = out.read_bytes()
    monkeypatch.setattr(feature_shards.Extractor, "extract", None)
    monkeypatch.setattr("vqcli.nn.kmeans.KMeans.step", None)
    build("demo:10", out)
    assert out.read_bytes() == before
    assert files.remove_folder is remove
    assert [path.name for path in tmp_path.iterdir()] == ["f.safetensors"]


SEEDED = {"size": 64, "iterations": 60, "seed": 5}
SMALL = (
    "import vqcli.jobs.feature_shards as f; f.SHARD = 8; import vqcli.nn.kmeans as k; k.LEAST_SAMPLE = 500; "
    "from vqcli.cli.app import main; main()"
)
COMMAND = [
    *[
        "build-codebook",
        "demo:600",
        "-k",
        "64",
        "--iterations",
        "60",
        "--seed",
        "5",
        "--size",
        "16",
        "-b",
        "4",
    ],
    *["--num-workers", "0", "--device", "cpu", "-q"],
]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def build_as_commanded(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``COMMAND`` does, in this process."""
    torch.set_num_threads(1)
    monkeypatch.setattr(feature_shards, "SHARD", 8)
    monkeypatch.setattr(kmeans, "LEAST_SAMPLE", 500)
    source = FeatureOptions("demo:600", **SOURCE | {"size": (16, 16)})
    build_codebook(CodebookOptions(source, **SEEDED), out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What ``COMMAND`` writes undisturbed."""
    out = tmp_path_factory.mktemp("whole") / "f.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        build_as_commanded(out, patch)
    return out.read_bytes()


def test_killed_in_both_phases_it_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bytes
) -> None:
    out, partial = tmp_path / "f.safetensors", tmp_path / "f.partial"
    command = [sys.executable, "-c", SMALL, *COMMAND]

    def iterations() -> int:
        try:
            with safe_open(partial / "kmeans-00000.safetensors", "pt") as file:
                return len(file.get_tensor("objectives"))
        except OSError:
            return -1

    for reached in (lambda: (partial / "vectors-00030.npy").exists(), lambda: iterations() > 10):
        process = subprocess.Popen([*command, "-o", str(out)], env=ENVIRONMENT)
        while not reached():
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert 10 < iterations() < 60
    (partial / ".tmp-0-half").write_bytes(b"left by the kill")
    build_as_commanded(out, monkeypatch)
    assert out.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["f.safetensors"]


def test_two_processes_write_what_one_does(tmp_path: Path, whole: bytes) -> None:
    two_processes(SMALL, *COMMAND, "-o", tmp_path / "2.safetensors")
    assert (tmp_path / "2.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": 8}, "codes 16 -> 8$"),
        ({"seed": 1}, "seed 0 -> 1$"),
        ({"iterations": 5}, "iterations 4 -> 5$"),
        ({"pool": 2}, "pooling 1 -> 2$"),
        ({"patch": 2}, "features pixels of 4x4 patches -> pixels of 2x2 patches$"),
        ({"limit": 19}, "images 20 -> 19$"),
        ({"images": "demo:21", "limit": 20}, "named demo:20 -> demo:21$"),
    ],
)
def test_another_job_in_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict, told: str
) -> None:
    out = tmp_path / "f.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("vqcli.jobs.build_codebook.write_codes", lambda *_: (_ for _ in ()).throw(Stop))
        with pytest.raises(Stop):
            build("demo:20", out)
    other = {"images": "demo:20"} | change
    with pytest.raises(VqcliError, match=f"f.partial holds another job: {told}") as refused:
        build(out=out, **other)
    assert (refused.value.reason, "--force" in refused.value.hint) == ("changed", True)
    build(out=out, force=True, **other)
    build(out=tmp_path / "fresh.safetensors", **other)
    assert out.read_bytes() == (tmp_path / "fresh.safetensors").read_bytes()


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    mine = tmp_path / "f.partial" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    (tmp_path / "g.safetensors").write_text("mine")
    for name, force in (("f.safetensors", True), ("g.safetensors", False), ("g.npy", True)):
        with pytest.raises(VqcliError, match=r"exists|no name of a safetensors file"):
            build("demo:10", tmp_path / name, force=force)
    assert mine.read_text() == (tmp_path / "g.safetensors").read_text() == "mine"
    build("demo:10", tmp_path / "g.safetensors", force=True)
    assert len(opened(tmp_path / "g.safetensors")[0]) == 16
    with held_elsewhere(tmp_path / "h.partial"), pytest.raises(VqcliError, match="in use by another"):
        build("demo:10", tmp_path / "h.safetensors")
