"""The cache shown and emptied: names, origins, sizes, and that what is removed is made again."""

import os
import shutil
from dataclasses import replace

import pytest
import torch

from tests.importers.foreign import CASES
from tests.locks import held_elsewhere
from vqcli.errors import VqcliError
from vqcli.jobs.cache import find_entries, list_cache, remove_entries
from vqcli.library import aliases
from vqcli.library.imports import imported


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path):
    case = CASES["llamagen"]
    torch.save({"model": case.state(case.model())}, tmp_path / "vq.pt")
    return tmp_path / "vq.pt"


def write(path, size, used):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (used, used))


def test_what_lies_there(cache, file, monkeypatch):
    folder = imported(file)
    write(cache / "networks-1" / "lpips-alex" / "model.safetensors", 500, 86400 * 100)
    write(cache / "evaluations-1" / ("ab" * 16) / "part-001-000.safetensors", 70, 86400 * 50)
    write(cache / "imported-1" / "old" / "model.safetensors", 9, 86400 * 10)  # of an older version
    (cache / "verified.json").write_text("{}")
    found = list_cache()
    assert found.folder == cache
    assert [(e.name, e.kind) for e in found.entries] == [
        ("vq.pt", "model"),
        ("lpips-alex", "network"),
        ("evaluation-abababab", "evaluation"),
        ("old", "model"),
    ]
    model, network, *_ = found.entries
    assert model.folder == folder
    assert model.source == "vq.pt, llamagen"
    assert model.bytes == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert (network.bytes, network.used[:7]) == (500, "1970-04")
    assert found.bytes == model.bytes + 500 + 70 + 9
    digest = folder.name[:64]
    published = next(p for p in aliases.ALIASES.values() if p.repository)
    monkeypatch.setitem(aliases.ALIASES, "mine", replace(published, sha256=digest))
    assert list_cache().entries[0].name == "mine"
    assert list_cache().entries[0].source.startswith(f"{published.repository}, vq.pt")


def test_removed_entries_are_made_again(cache, file):
    folder = imported(file)
    write(cache / "networks-1" / "lpips-alex" / "model.safetensors", 500, 1000)
    done = remove_entries(find_entries(["vq.pt"]))
    assert (done.removed, folder.exists()) == (["vq.pt"], False)
    assert done.bytes > 1000
    assert [e.name for e in list_cache().entries] == ["lpips-alex"]
    assert imported(file) == folder
    assert folder.is_dir()


def test_entries_of_one_name_are_told_apart(cache, file):
    folder = imported(file)
    other = folder.with_name("f" * 64)
    shutil.copytree(folder, other)
    names = {e.folder: e.name for e in list_cache().entries}
    assert names == {folder: f"vq.pt@{folder.name[:8]}", other: "vq.pt@ffffffff"}
    assert [e.folder for e in find_entries(["ffffffff"])] == [other]
    with pytest.raises(VqcliError, match=r"is called vq\.pt") as refused:
        find_entries(["vq.pt"])
    assert "vq.pt@" in refused.value.hint


def test_what_is_in_use_stays(cache, file):
    folder = imported(file)
    with held_elsewhere(folder.parent), pytest.raises(VqcliError, match="in use"):
        remove_entries(find_entries(["vq.pt"]))
    assert folder.exists()


def test_an_empty_cache(cache):
    assert list_cache().entries == []
    with pytest.raises(VqcliError, match=r"nothing in .* is called x") as refused:
        find_entries(["x"])
    assert refused.value.hint == "there is nothing in it"
