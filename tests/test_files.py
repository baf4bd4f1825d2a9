import errno
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from vqcli import files
from vqcli.errors import VqcliError


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail():
        with files.writing(path) as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(VqcliError, match="cannot write"):
        files.write_text(tmp_path / "file" / "a.txt", "x")


def test_tensors_round_trip_with_metadata(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(3)}
    files.write_tensors(tmp_path / "t.safetensors", tensors, {"k": "v"})
    loaded = load_file(tmp_path / "t.safetensors")
    assert torch.equal(loaded["a"], tensors["a"])
    assert loaded["b"] == 3


def test_folder_appears_whole_and_verifies(tmp_path):
    folder = tmp_path / "step"
    with files.writing_folder(folder) as unfinished:
        files.write_text(unfinished / "a" / "b.txt", "hello")
        assert not folder.exists()
    assert files.verified(folder)
    (folder / "a" / "b.txt").write_text("hellO")
    assert not files.verified(folder)
    (folder / "a" / "b.txt").unlink()
    assert not files.verified(folder)
    assert not files.verified(tmp_path / "nothing")


def test_folder_replaces_only_when_done(tmp_path):
    folder = tmp_path / "model"
    for text in ("one", "two"):
        with files.writing_folder(folder) as unfinished:
            files.write_text(unfinished / "x", text)
    assert (folder / "x").read_text() == "two"

    def fail():
        with files.writing_folder(folder) as unfinished:
            files.write_text(unfinished / "x", "three")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (folder / "x").read_text() == "two"
    assert names_in(tmp_path) == ["model"]


def test_clean_removes_what_a_kill_leaves(tmp_path):
    script = "from vqcli import files; import os, pathlib, sys\n"
    script += f"with files.writing(pathlib.Path({str(tmp_path)!r}) / 'a') as f: f.write(b'x'); os._exit(9)"
    subprocess.run([sys.executable, "-c", script], check=False)
    assert [name.startswith(files.TEMPORARY) for name in names_in(tmp_path)] == [True]
    files.clean(tmp_path)
    assert names_in(tmp_path) == []


def test_lines_skip_a_torn_last_one(tmp_path):
    path = tmp_path / "m.jsonl"
    files.append_line(path, {"step": 1})
    with open(path, "a") as file:
        file.write('{"step": 2')
    assert list(files.read_lines(path)) == [{"step": 1}]


def test_a_folder_is_held_by_one_process(tmp_path):
    script = "from vqcli import files; import pathlib\n"
    script += f"with files.locked(pathlib.Path({str(tmp_path)!r})): print('held')"
    with files.locked(tmp_path):
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "in use by another vqcli process" in other.stderr
    again = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert again.stdout == "held\n"


def test_json_that_is_missing_or_damaged(tmp_path):
    with pytest.raises(VqcliError, match="does not exist"):
        files.read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(VqcliError, match="no readable JSON"):
        files.read_json(tmp_path / "a.json")


REFUSING = """
import os, stat, sys
from pathlib import Path
from vqcli import files
flush = os.fsync

def fsync(handle):
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        raise OSError(int(sys.argv[2]), "of a share")
    flush(handle)

os.fsync = fsync
files.write_text(Path(sys.argv[1]) / "a.txt", "whole")
with files.writing_folder(Path(sys.argv[1]) / "folder") as folder:
    files.write_text(folder / "b.txt", "whole")
"""


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS])
def test_folders_that_cannot_be_flushed_are_written_to(tmp_path, number):
    done = subprocess.run([sys.executable, "-c", REFUSING, tmp_path, str(number)], check=False)
    assert done.returncode == 0
    assert names_in(tmp_path) == ["a.txt", "folder"]
    assert files.verified(tmp_path / "folder")


def test_a_disk_that_fails_on_a_folder_is_an_error(tmp_path):
    script = [sys.executable, "-c", REFUSING, tmp_path, str(errno.EIO)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert f"VqcliError: cannot write {tmp_path}/a.txt: of a share" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_a_folder_that_cannot_be_read_is_written_to(tmp_path):
    tmp_path.chmod(0o300)
    try:
        files.write_text(tmp_path / "a.txt", "whole")
    finally:
        tmp_path.chmod(0o700)
    assert names_in(tmp_path) == ["a.txt"]
