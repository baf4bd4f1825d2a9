"""What takes its name was on the disk before, and the name is on the disk after: operations are watched."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vqcli import files
from vqcli.data.tokens.ending import assemble, totals, write_index
from vqcli.data.tokens.store import TokensInfo, write_shard
from vqcli.errors import VqcliError
from vqcli.files import folders
from vqcli.jobs.npz import write_npz
from vqcli.training.run import Run


class Watch:
    """Renames, and what was flushed before and after each."""

    def __init__(self, monkeypatch):
        self.flushed: dict[int, tuple[int, int]] = {}
        self.renames: list[tuple[list[str], Path]] = []
        """Files that were not flushed when they took a name, and that name."""
        self.unlisted: list[Path] = []
        """Folders that had no manifest when they took their names."""
        self.pending: dict[int, Path] = {}
        """Folders whose new names are not flushed yet."""
        monkeypatch.setattr(os, "fsync", self._on(os.fsync, self.flush))
        for name in ("rename", "replace"):
            monkeypatch.setattr(os, name, self._on(getattr(os, name), self.rename))
        monkeypatch.setattr(folders, "_exchanged", self._on(folders._exchanged, self.rename))

    def _on(self, call, note):
        def watched(*arguments, **options):
            note(*arguments)
            return call(*arguments, **options)

        return watched

    def flush(self, handle):
        found = os.fstat(handle)
        self.flushed[found.st_ino] = found.st_size, found.st_mtime_ns
        self.pending.pop(found.st_ino, None)

    def rename(self, source, target):
        source, target = Path(source), Path(target)
        if source.is_dir() and not target.name.startswith(files.TEMPORARY):
            self.unlisted += [] if (source / "manifest.json").is_file() else [target]
        for path in [source, *source.rglob("*")]:
            found = path.stat()
            if path.is_file() and self.flushed.get(found.st_ino) != (found.st_size, found.st_mtime_ns):
                self.renames.append(([str(path)], target))
        self.renames.append(([], target))
        self.pending[target.parent.stat().st_ino] = target


def write_tokens(folder):
    info = TokensInfo(9, "f", "p")
    line = {"status": "ok", "key": "a", "label": 1, "grid": [[2, 2]]}
    write_shard(folder, 0, [line], [np.zeros(4, np.int64)], 9)
    index = totals(folder, 1, info)
    write_index(folder, dict(index))
    assemble(folder, folder / "all.npy", info, index)


def write_pictures(folder):
    files.write_image(folder / "a.png", Image.new("RGB", (4, 4)))
    with files.ImageWriter() as writer:
        for i in range(9):
            writer.write(folder / "more" / f"{i}.png", Image.new("RGB", (4, 4)))
    write_npz(folder / "a.npz", [folder / "a.png"], (4, 4))


def write_checkpoint(folder):
    with Run(folder / "run").checkpoint(3, keep=2) as made:
        files.write_json(made / "state.json", {})


def write_folder(folder):
    with files.writing_folder(folder / "made") as made:
        files.write_text(made / "below" / "a", "x")
        files.write_tensors(made / "b.safetensors", {"x": torch.zeros(2)})


def copy(path):
    with open(__file__, "rb") as source:
        files.write_copy(path, source)


WRITERS = {
    "bytes": lambda folder: files.write_bytes(folder / "a", b"x" * 9),
    "text": lambda folder: files.write_text(folder / "a", "x"),
    "json": lambda folder: files.write_json(folder / "a", {}),
    "sealed": lambda folder: files.write_sealed(folder / "a", {}),
    "copy": lambda folder: copy(folder / "b"),
    "folder": write_folder,
    "tokens": write_tokens,
    "pictures": write_pictures,
    "checkpoint": write_checkpoint,
}


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_what_takes_its_name_is_on_the_disk(tmp_path, monkeypatch, name, again):
    if again and name != "checkpoint":
        WRITERS[name](tmp_path)
    watch = Watch(monkeypatch)
    WRITERS[name](tmp_path)
    assert watch.renames
    assert [(unflushed, target) for unflushed, target in watch.renames if unflushed] == []
    assert watch.pending == {}
    assert watch.unlisted == []


def test_an_old_checkpoint_stays_until_the_new_one_was_read_back(tmp_path, monkeypatch):
    run = Run(tmp_path)
    for step in (1, 2):
        with run.checkpoint(step, keep=1) as made:
            files.write_json(made / "state.json", {})
            assert [each.name for each in (tmp_path / "checkpoints").glob("step-*")] == ["step-00000001"] * (
                step - 1
            )
    monkeypatch.setattr(files, "verified", lambda *_, **__: False)
    with pytest.raises(VqcliError), run.checkpoint(3, keep=1) as made:
        files.write_json(made / "state.json", {})
    assert (tmp_path / "checkpoints" / "step-00000002" / "state.json").is_file()
