"""``vqcli verify``: what is damaged, missing, edited or unfinished is told, with what makes it again."""

import errno
import json
import os
from contextlib import suppress

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.models import make_generator, make_model
from vqcli import files
from vqcli.checkpoint.card import record_measured
from vqcli.checkpoint.classes import read_classes
from vqcli.checkpoint.tokenizer import read_tokenizer
from vqcli.checkpoint.weights import weights_file
from vqcli.cli.app import app
from vqcli.errors import VqcliError
from vqcli.jobs.encode import encode
from vqcli.jobs.options import ImageOptions
from vqcli.jobs.verify import verify
from vqcli.library.references import newest_checkpoint
from vqcli.metrics.usage.counts import UsageCounts
from vqcli.metrics.usage.record import UsageRecord


@pytest.fixture
def model(tmp_path):
    return listed(make_model(tmp_path / "model"))


def listed(folder):
    files.write_sealed(folder / "manifest.json", {"files": files.manifest(folder)})
    return folder


def encoded(model, out):
    encode(ImageOptions("demo:3", model=str(model), size=(8, 8), num_workers=0, device="cpu"), out)
    return out


def flip(path, at=-1):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def command(*words):
    return CliRunner().invoke(app, ["verify", *map(str, words)], prog_name="vqcli")


def test_a_model_and_each_of_its_files(tmp_path, model):
    generator = listed(make_generator(tmp_path / "gen", model))
    assert verify(model).state == verify(generator).state == "whole"
    for path in sorted(p for p in generator.rglob("*") if p.is_file()):
        before = path.read_bytes()
        flip(path, len(before) // 2)
        found = verify(generator)
        assert found.state == ("edited" if path.name == "README.md" else "damaged"), path
        assert any(path.name in each.what for each in found.findings)
        assert all(each.again for each in found.findings)
        path.write_bytes(before)
    (model / "codebook.safetensors").unlink()
    (missing,) = verify(model).findings
    assert (missing.state, missing.reason) == ("damaged", "input-missing")


def test_exit_codes_and_json(tmp_path, model):
    assert command(model, "--json").exit_code == 0
    flip(model / "model.safetensors")
    done = command(model, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["findings"][0]["file"].endswith("model.safetensors")
    assert command(tmp_path / "nowhere").exit_code == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(VqcliError, match="holds nothing that vqcli wrote"):
        verify(tmp_path / "empty")


def test_tokens_of_both_forms(tmp_path, model):
    array, folder = encoded(model, tmp_path / "t.npy"), encoded(model, tmp_path / "shards")
    assert verify(array).state == verify(folder).state == "whole"
    for path in (array, array.with_suffix(".json"), *folder.glob("*.json*"), *folder.glob("*.safetensors")):
        before = path.read_bytes()
        flip(path, len(before) // 2)
        assert verify(array if path.parent == tmp_path else folder).state == "damaged", path
        path.write_bytes(before)
    (folder / "index.json").unlink()
    assert verify(folder).state == "unfinished"
    assert command(folder).exit_code == 3


def test_what_was_edited_is_taken_as_it_is(tmp_path, model):
    array = encoded(model, tmp_path / "t.npy")
    side = array.with_suffix(".json")
    side.write_text(side.read_text().replace('"labels": [\n0', '"labels": [\n1'))
    with pytest.raises(VqcliError, match="edited or damaged") as refused:
        files.read_sealed(side)
    assert f"vqcli verify --seal {side}" in refused.value.hint
    assert verify(side, seal=True).state == verify(array).state == "whole"
    config = model / "config.json"
    config.write_text(config.read_text() + " \n")
    assert verify(model).state == "damaged"
    assert verify(model, seal=True).sealed == [config]
    assert verify(model).state == "whole"
    flip(model / "model.safetensors")
    assert verify(model, seal=True).state == "damaged"  # weights are no text


@pytest.mark.parametrize("number", range(16))
def test_a_seal_that_the_machine_interrupts_forgets_no_file(model, monkeypatch, number):
    """Of all opens of the manifest one fails, whichever that is."""
    (model / "config.json").write_text((model / "config.json").read_text() + " ")
    names, real, left = listed_in(model), os.open, [number]

    def refusing(path, *rest, **named):
        if str(path).endswith("manifest.json"):
            left[0] -= 1
            if left[0] == -1:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, *rest, **named)

    monkeypatch.setattr("vqcli.files.refused.WAITS", ())
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refusing)
        with suppress(VqcliError):
            verify(model, seal=True)
    assert listed_in(model) == names
    assert verify(model, seal=True).state == "whole"


def listed_in(model):
    return sorted(files.read_sealed(model / "manifest.json")["files"])


def test_shards_that_several_processes_make_are_looked_at_by_their_numbers(tmp_path):
    files.write_sealed(tmp_path / "plan.json", {})
    for k in (0, 2):
        (tmp_path / f"vectors-{k:05d}.npy").write_bytes(bytes([k]))
        digest = files.sha256(tmp_path / f"vectors-{k:05d}.npy")
        files.write_sealed(tmp_path / f"images-{k:05d}.json", {"sha256": digest})
    (tmp_path / "vectors-of-mine.npy").touch()
    assert verify(tmp_path).state == "unfinished"
    flip(tmp_path / "vectors-00002.npy")
    assert verify(tmp_path).state == "damaged"


def test_a_folder_that_cannot_be_listed_is_not_whole(tmp_path, monkeypatch):
    real = os.scandir

    def refusing(path):
        if str(path).endswith("checkpoints"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    files.write_sealed_text(tmp_path / "run" / "recipe.yaml", "task: tokenizer\n")
    assert verify(tmp_path / "run").state == "unfinished"
    monkeypatch.setattr("vqcli.files.refused.WAITS", ())
    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(VqcliError, match=r"cannot read .*checkpoints: Permission denied"):
        verify(tmp_path / "run")


@pytest.mark.parametrize(
    "name", ["classes.json", "usage.json", "codebook.safetensors", "average.safetensors"]
)
def test_what_a_manifest_lists_is_not_absent(tmp_path, model, name):
    uses = {
        "classes.json": read_classes,
        "usage.json": UsageRecord.read,
        "codebook.safetensors": read_tokenizer,
        "average.safetensors": weights_file,
    }
    (model / name).touch()
    listed(model)
    (model / name).unlink()
    with pytest.raises(VqcliError, match=f"{name} does not exist"):
        uses[name](model)


def test_what_keeps_a_checkpoint_from_being_whole_is_told(tmp_path):
    run = tmp_path / "run"
    files.write_sealed_text(run / "recipe.yaml", "task: tokenizer\n")
    for step in (5, 10):
        with files.writing_folder(run / "checkpoints" / f"step-{step:08}") as checkpoint:
            files.write_text(checkpoint / "state.json", "{}")
    assert verify(run).state == "unfinished"
    stray = run / "checkpoints" / "step-00000010" / ".DS_Store"
    stray.touch()
    assert newest_checkpoint(run).name == "step-00000005"
    assert [each.file for each in verify(run).findings if each.state == "damaged"] == [stray]


def test_numbers_that_are_recorded_hide_no_damage(model):
    flip(model / "model.safetensors")
    record_measured(model, UsageRecord.of(UsageCounts(4).report(), "11 images"))
    assert [each.file.name for each in verify(model).findings] == ["model.safetensors"]


def test_every_bit_of_a_picture_counts(tmp_path):
    path = tmp_path / "a.png"
    files.write_image(path, Image.linear_gradient("L").resize((4, 4)))
    whole = path.read_bytes()
    assert files.whole_image(path)
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert not files.whole_image(path), bit


@pytest.mark.parametrize(
    "names",
    [
        None,
        [],
        {"config.json": None},
        *({name: {}} for name in ("", "/etc/passwd", "../x", "a/../../x", "a\0b")),
    ],
)
def test_a_manifest_that_lists_no_files_of_its_folder(model, names):
    files.write_sealed(model / "manifest.json", {} if names is None else {"files": names})
    (found,) = verify(model).findings
    assert (found.state, found.file) == ("damaged", model / "manifest.json")
