"""Published files named directly: imported once into the cache, and again where that is damaged."""

import errno
import fcntl
import pwd
import shutil
import threading
from pathlib import Path

import pytest
import torch

from tests.importers.foreign import CASES
from tests.locks import held_elsewhere
from vqcli import files
from vqcli.checkpoint.tokenizer import fingerprint
from vqcli.errors import VqcliError
from vqcli.jobs.info import describe_model
from vqcli.jobs.pull import pull
from vqcli.jobs.usage import measure_usage
from vqcli.library import cache
from vqcli.library.find import model_folder
from vqcli.library.importing import import_model
from vqcli.library.imports import imported
from vqcli.library.open import open_tokenizer
from vqcli.types import silent

CASE = CASES["llamagen"]
pytestmark = pytest.mark.usefixtures("own_cache")


def everything(folder):
    return sorted((path, path.is_file() and path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_the_cache_tells_settings_apart(tmp_path, file):
    case = CASES["diffusers"]
    torch.save(case.state(case.model()), file)
    first = imported(file)
    (tmp_path / "config.json").write_text('{"norm_num_groups": 16}')
    with pytest.raises(VqcliError, match="norm_num_groups is 16"):
        imported(file)
    (tmp_path / "config.json").write_text('{"norm_num_groups": 32}')
    assert imported(file) != first


def test_a_file_that_changes_while_it_is_read(tmp_path, file, state, monkeypatch):
    """Replaced after its hash was taken, and again after its tensors were."""
    real, other = files.sha256, tmp_path / "other.pt"
    torch.save({"model": {key: x * 2 for key, x in state.items()}}, other)

    def then_replaced(path):
        digest = real(path)
        if other.exists() and path == file:
            other.rename(file)
        return digest

    monkeypatch.setattr(files, "sha256", then_replaced)
    with pytest.raises(VqcliError, match=r"vq\.pt changed while it was read"):
        imported(file)
    assert [path.name for path in (tmp_path / "cache" / "imported-2").iterdir()] == [".lock"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 64
    path.write_bytes(data)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text(""),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: flip(folder / "model.safetensors"),
    ],
    ids=["no config", "empty config", "no manifest", "a flipped bit"],
)
def test_a_damaged_entry_is_made_again(file, harm):
    folder = imported(file)
    want = files.manifest(folder)
    harm(folder)
    told = Told()
    assert imported(file, told) == folder
    assert files.verified(folder)
    assert files.manifest(folder) == want
    assert "is damaged" in told.lines[0]


class Told(type(silent)):
    """Keeps what was said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_an_assumed_metric_is_told_once(file):
    told = Told()
    imported(file, told)
    imported(file, told)
    (line,) = told.lines
    assert line.startswith("vq.pt is imported with codes compared by cosine; the file does not tell")


def test_a_damaged_folder_is_not_copied(tmp_path, file):
    folder = import_model(file, tmp_path / "model").out
    pull(str(folder), tmp_path / "whole")
    assert (tmp_path / "whole" / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    assert files.verified(tmp_path / "whole")
    flip(folder / "model.safetensors")
    with pytest.raises(VqcliError, match=r"model\.safetensors is missing or is not what manifest\.json says"):
        pull(str(folder), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_cache_that_cannot_be_locked(tmp_path, file, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(VqcliError, match=r"cannot lock .*: No locks available"), files.locked(tmp_path):
        pass
    with pytest.raises(VqcliError, match="No locks available"):  # and not waited for
        imported(file)
    monkeypatch.setenv("VQCLI_CACHE", str(file / "below"))
    with pytest.raises(VqcliError, match=r"cannot lock .*: Not a directory"):
        imported(file)


def test_named_directly(tmp_path, file, monkeypatch):
    tokenizer, folder = open_tokenizer(str(file), torch.device("cpu"))
    assert folder == tmp_path / "cache" / "imported-2" / files.sha256(file)
    assert tokenizer.fingerprint == fingerprint(CASE.model())
    before = everything(folder)
    shutil.copy(file, tmp_path / "copy.bin")
    assert model_folder(str(tmp_path / "copy.bin")) == folder  # by what it holds, not by its name
    monkeypatch.setenv("VQCLI_MODEL", str(file))
    assert describe_model(None).folder == folder
    assert describe_model(str(file)).fingerprint == tokenizer.fingerprint
    assert measure_usage(str(file)).geometry.codes == 48
    assert everything(folder) == before
    assert model_folder(str(folder)) == folder
    with pytest.raises(VqcliError, match="there is no model at"):
        model_folder(str(tmp_path / "away.pt"))


def test_the_cache_keeps_nothing_of_what_failed(tmp_path, file):
    kept = tmp_path / "cache" / "imported-2"
    (kept / ".tmp-1234-left").mkdir(parents=True)  # by a writer that was killed
    imported(file)
    assert sorted(path.name for path in kept.iterdir()) == [".lock", files.sha256(file)]
    file.write_bytes(b"nothing")
    with pytest.raises(VqcliError, match="is neither a file"):
        imported(file)
    assert len(list(kept.iterdir())) == 2


def test_two_processes_import_one_after_the_other(tmp_path, file):
    found = []
    thread = threading.Thread(target=lambda: found.append(imported(file)))
    with held_elsewhere(tmp_path / "cache" / "imported-2"):
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        assert found == []
    thread.join(30)
    assert found == [tmp_path / "cache" / "imported-2" / files.sha256(file)]


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", "/a/b")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    monkeypatch.setenv("HOME", "/home/x")
    assert cache.cache_folder() == Path("/a/b")
    monkeypatch.delenv("VQCLI_CACHE")
    assert cache.cache_folder() == Path("/c/vqcli")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    assert cache.cache_folder() == Path("/home/x/.cache/vqcli")
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache.cache_folder() == Path("/home/x/Library/Caches/vqcli")


def test_a_user_without_a_home_is_told_to_name_a_folder(monkeypatch):
    def nobody(user):
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "VQCLI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(VqcliError, match="has no home folder") as refused:
        cache.cache_folder()
    assert refused.value.hint == "name a folder: VQCLI_CACHE=DIR"
