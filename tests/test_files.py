import errno
import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.files import refused
from vqcli.files.patient import buffered


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


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (files.read_bytes, files.read_json, files.sha256, files.read_header):
        with pytest.raises(VqcliError, match="is no regular file"):
            read(tmp_path / "pipe")
    with pytest.raises(VqcliError, match="is no regular file"):
        files.write_text(tmp_path / "pipe", "x")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(VqcliError, match="Is a directory"):
        files.read_bytes(tmp_path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE])
def test_what_the_machine_refuses_is_tried_again_and_is_not_absent(tmp_path, monkeypatch, number):
    files.write_text(tmp_path / "a", "x")
    real, left = os.open, [1]

    def refusing(path, *rest, **named):
        if str(path).endswith("a") and left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "open", refusing)
    assert files.read_text(tmp_path / "a") == "x"
    left[0] = 9
    with pytest.raises(VqcliError, match=f"cannot read .*{os.strerror(number)}") as told:
        files.read_text(tmp_path / "a")
    assert told.value.reason == "os"


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1, "a": 2}',
        b"[NaN]",
        b"[1e999]",
        b"[" * 100_000,
        b'"\xff"',
        b"[" + b"9" * 5000 + b"]",
    ],
)
def test_json_that_is_none(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(VqcliError, match="no readable JSON") as told:
        files.read_json(tmp_path / "a.json")
    assert told.value.reason == "damaged"


def test_a_file_that_is_too_large_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert files.read_bytes(tmp_path / "a", 100) == b"x" * 100
    with pytest.raises(VqcliError, match="more than 99 bytes"):
        files.read_bytes(tmp_path / "a", 99)


def test_a_bad_line_is_told(tmp_path):
    (tmp_path / "a").write_bytes(b'{"a": 1}\n{"a\n[3]\n{"a": 2}\n{"a": ')
    bad = []
    assert list(files.read_lines(tmp_path / "a", bad.append)) == [{"a": 1}, {"a": 2}]
    assert bad == [2, 3]
    with pytest.raises(VqcliError, match="line 2 of"):
        list(files.read_lines(tmp_path / "a"))


def test_a_line_that_never_ends_is_one_bad_line(tmp_path):
    (tmp_path / "a").write_bytes(b'{"a": 1}\n' + b"x" * (5 << 20) + b'\n{"a": 2}\n')
    bad = []
    assert list(files.read_lines(tmp_path / "a", bad.append)) == [{"a": 1}, {"a": 2}]
    assert bad == [2]


def test_every_flipped_bit_of_a_sealed_file_is_noticed_or_changes_nothing(tmp_path):
    path, value = tmp_path / "a.json", {"keys": ["a/b.png", "c"], "n": 3, "x": 0.25, "none": None}
    files.write_sealed(path, value)
    assert files.read_sealed(path) == value
    data = path.read_bytes()
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            read = files.parse_sealed(bytes(changed), path)
        except VqcliError:
            continue
        assert {name: read[name] for name in value} == value, bit


def test_a_hash_is_remembered_until_the_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a"
    path.write_bytes(bytes(5 << 20))
    first = files.hash_of(path)
    assert not list((tmp_path / "cache").rglob("*.json"))  # it has just changed: its times do not tell
    monkeypatch.setattr("vqcli.files.hashes.STILL", -10.0)
    (tmp_path / "cache" / "hashes-1").mkdir(parents=True)
    (tmp_path / "cache" / "hashes-1" / ".tmp-0123abcd-of-a-killed.json").touch()
    assert files.hash_of(path) == first
    (memory,) = (tmp_path / "cache").rglob("*.json")
    files.write_sealed(memory, files.read_sealed(memory) | {"sha256": "remembered"})
    assert files.hash_of(path) == "remembered"
    assert files.hash_of(path, again=True) == first
    path.write_bytes(b"\1" + bytes((5 << 20) - 1))
    assert files.hash_of(path) == files.sha256(path) != first


def test_one_process_makes_a_file(tmp_path):
    script = (
        "import sys; from pathlib import Path; from vqcli import files; from vqcli.errors import VqcliError\n"
        "try:\n    with files.claimed(Path(sys.argv[1])): print('made')\n"
        "except VqcliError as e: print(e.reason)"
    )

    def other():
        return subprocess.run(
            [sys.executable, "-c", script, tmp_path / "out"], capture_output=True, text=True, check=True
        ).stdout.strip()

    (tmp_path / ".tmp-0123abcd-out").write_text("left by a kill")
    (tmp_path / ".tmp-0123abcd-other").write_text("another's")
    with files.claimed(tmp_path / "out"):
        assert other() == "locked"
        assert names_in(tmp_path) == [".lock-out", ".tmp-0123abcd-other"]
    assert other() == "made"
    assert names_in(tmp_path) == [".tmp-0123abcd-other"]


@pytest.mark.parametrize("hold", ["locked", "claimed"])
def test_a_process_that_looks_at_its_own_lock_keeps_it(tmp_path, hold):
    folder = tmp_path / "out"
    folder.mkdir()
    script = (
        "import sys\nfrom pathlib import Path\nfrom vqcli import files\nfrom vqcli.errors import VqcliError\n"
        f"try:\n    with files.{hold}(Path(sys.argv[1])): print('made')\n"
        "except VqcliError as e: print(e.reason)"
    )
    with getattr(files, hold)(folder):
        with getattr(files, hold)(folder):
            pass
        assert hold == "claimed" or files.held(folder)
        told = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True).stdout
        assert told == "locked\n"
    told = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True).stdout
    assert told == "made\n"


def test_cleaning_leaves_what_a_living_writer_is_at(tmp_path):
    script = "import sys; from pathlib import Path; from vqcli import files; files.clean(Path(sys.argv[1]))"
    with files.writing(tmp_path / "a") as file, files.writing_folder(tmp_path / "b"):
        file.write(b"x")
        subprocess.run([sys.executable, "-c", script, tmp_path], check=True)
        assert len(names_in(tmp_path)) == 2
    assert names_in(tmp_path) == ["a", "b"]


def test_a_folder_is_replaced_without_a_moment_without_one(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    for text in ("old", "new"):
        with files.writing_folder(folder) as unfinished:
            files.write_text(unfinished / "a", text)
        assert (folder / "a").read_text() == text
        monkeypatch.setattr(type(folder), "rename", None)  # the exchange needs none
    assert names_in(tmp_path) == ["model"]


def test_without_exchange_a_folder_is_replaced_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("vqcli.files.folders._exchanged", lambda one, other: False)
    for text in ("old", "new"):
        with files.writing_folder(tmp_path / "model") as unfinished:
            files.write_text(unfinished / "a", text)
    assert (tmp_path / "model" / "a").read_text() == "new"
    assert names_in(tmp_path) == ["model"]


def test_every_flipped_bit_of_a_logged_line_is_noticed(tmp_path):
    path, value = tmp_path / "log.jsonl", {"step": 3, "loss": 0.25}
    files.append_line(path, value)
    assert list(files.read_lines(path)) == [value]
    data = path.read_bytes()
    for bit in range(8 * (len(data) - 1)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        read = list(files.read_lines(path, bad=lambda number: None))
        assert read in ([], [value]), bit


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("number", range(2))
def test_without_exchange_a_folder_that_is_not_replaced_stays(tmp_path, monkeypatch, error, number):
    folder, real, renames = tmp_path / "out", os.rename, []
    with files.writing_folder(folder) as unfinished:
        files.write_text(unfinished / "a", "old")

    def failing(source, target):
        if Path(source).is_dir():
            renames.append(target)
            if len(renames) == number + 1:
                raise error
        return real(source, target)

    monkeypatch.setattr("vqcli.files.folders._exchanged", lambda one, other: False)
    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises((VqcliError, KeyboardInterrupt)), files.writing_folder(folder) as unfinished:
        files.write_text(unfinished / "a", "new")
    assert (folder / "a").read_text() == "old"
    assert names_in(tmp_path) == ["out"]


def test_a_copy_that_cannot_be_read_is_told_so(tmp_path, monkeypatch):
    files.write_text(tmp_path / "a", "x")
    with open(tmp_path / "a", "rb") as file:
        source = io.BufferedReader(Refusing(file.fileno(), closefd=False))
        source.raw.name = str(tmp_path / "a")
        with pytest.raises(VqcliError, match=r"cannot read .*a: Input/output error"):
            files.write_copy(tmp_path / "b", source)
    assert names_in(tmp_path) == ["a"]


class Refusing(io.FileIO):
    """A file on a disk that does not answer."""

    def readinto(self, buffer):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE])
@pytest.mark.parametrize("call", ["exists", "is_file", "is_folder", "children", "below"])
def test_what_the_machine_does_not_tell_is_not_absent(tmp_path, monkeypatch, call, number):
    def refused(path, *arguments, **options):
        raise OSError(number, os.strerror(number), str(path))

    (tmp_path / "a.png").touch()
    monkeypatch.setattr("vqcli.files.refused.WAITS", (0, 0))
    for name in ("stat", "scandir"):
        monkeypatch.setattr(os, name, refused)
    with pytest.raises(VqcliError) as told:
        getattr(files, call)(tmp_path)
    assert told.value.reason == "os"


def test_what_lies_in_a_folder(tmp_path):
    for name in (".hidden", "a.png", "b.txt", "below/c.png", "below/deep/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "below")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    pictures = [tmp_path / name for name in ("a.png", "below/c.png", "below/deep/d.png")]
    assert files.below(tmp_path, "*.png") == pictures
    assert [path.name for path in files.children(tmp_path, "[!.]*.png")] == ["a.png", "loop.png", "pipe.png"]
    for nothing in (tmp_path / "none", tmp_path / "a.png" / "x", tmp_path / "loop.png", tmp_path / "a\0b"):
        assert not files.exists(nothing)
        assert not files.is_file(nothing)
        assert not files.is_folder(nothing)
        assert files.children(tmp_path / "none") == files.below(tmp_path / "none") == []
    assert files.exists(tmp_path / "pipe.png")
    assert not files.is_file(tmp_path / "pipe.png")
    assert files.is_folder(tmp_path / "link")


def test_places_without_a_name_of_their_own(tmp_path, monkeypatch):
    (tmp_path / "loop").symlink_to("loop")
    with files.writing_folder(tmp_path / "loop") as folder:
        (folder / "x").touch()
    assert (tmp_path / "loop" / "x").exists()
    monkeypatch.chdir(tmp_path / "loop")
    for text in (".", "..", "", "../loop/."):
        with files.claimed(Path(text)):
            assert not (Path(text) / ".lock").exists()
    with files.writing_folder(Path()) as folder:
        (folder / "y").touch()
    assert names_in(tmp_path / "loop") == ["manifest.json", "y"]
    for make in (files.writing, files.writing_folder, files.claimed):
        with pytest.raises(VqcliError, match="/ is no place for a result"), make(Path("/")):
            pass


def test_a_file_that_has_nothing_to_read_just_now_is_no_endless_one(monkeypatch):
    monkeypatch.setattr(refused, "WAITS", (0, 0))
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with buffered(reader, "kmsg") as file, pytest.raises(BlockingIOError):
        hashlib.file_digest(file, "sha256")
    os.close(writer)


def write_images(folder, count):
    with files.ImageWriter() as writer:
        for i in range(count):
            writer.write(folder / f"{i}.png", Image.new("L", (3, 3), i))
        if folder.name == "interrupted":
            raise KeyboardInterrupt


def test_images_are_written_beside_other_work(tmp_path):
    write_images(tmp_path, 200)
    assert [Image.open(tmp_path / f"{i}.png").getpixel((1, 1)) for i in range(200)] == list(range(200))


@pytest.mark.parametrize("images", [1, 100])
def test_an_image_that_the_disk_refuses_is_an_error(tmp_path, images):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(VqcliError, match="file"):
        write_images(tmp_path / "file", images)


def test_images_that_were_begun_are_there_after_a_signal(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_images(tmp_path / "interrupted", 20)
    assert len(list((tmp_path / "interrupted").glob("*.png"))) == 20
