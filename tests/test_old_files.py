"""What the code of commit 78d75f6 wrote is read, continued and used: models, tokens, runs, jobs and a cache.

``fixtures/78d75f6/README.md`` tells what lies there. Only commands are used, as users give them. What depends
on rounding is compared closely everywhere, and to the last bit on a machine like the one that wrote it.
"""

import gzip
import hashlib
import json
import platform
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.fixtures.machine import machine
from vqcli.cli.app import app

OLD = Path(__file__).parent / "fixtures" / "78d75f6"
RECORDED = json.loads((OLD / "recorded.json").read_text())
SAME_BITS = machine() == RECORDED["machine"]
CLOCKED = ("seconds", "images_per_second", "tokens_per_second")
"""What the clock says; it was not recorded."""


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """An empty folder and one thread, as when the files were written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VQCLI_CACHE", "cache")
    monkeypatch.delenv("VQCLI_MODEL", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def bring(*names, to=None):
    """Copy old files and folders here, large weights unpacked."""
    for name in names:
        old, new = OLD / name, Path(to or name)
        if old.is_dir():
            shutil.copytree(old, new)
        else:
            for path in old.parent.glob(f"{old.name}*"):
                new.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, new.with_name(path.name))
    for packed in Path().rglob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()


def vqcli(*arguments):
    """A command that must end well."""
    done = CliRunner().invoke(app, [*arguments], prog_name="vqcli")
    assert done.exit_code == 0, done.output
    return done


def again(name, *further):
    """The recorded command of this name, and what is said in addition."""
    return vqcli(*RECORDED["commands"][name].split(), *further)


AS_STORED = ("--keep-profile",)
"""What encodes as it was done then: today colours are brought to sRGB, and tokens say so."""


def told(*arguments):
    return untimed(json.loads(vqcli(*arguments, "--json").stdout))


def untimed(value):
    return {name: x for name, x in value.items() if name not in CLOCKED}


def assert_close(value, wanted, where="it"):
    """Equal, but for the last digits of numbers that are not whole."""
    if isinstance(wanted, dict):
        assert value.keys() >= wanted.keys(), where  # there may be more now
        for name in wanted:
            assert_close(value[name], wanted[name], f"{where}.{name}")
    elif isinstance(wanted, list):
        assert len(value) == len(wanted), where
        for i, (one, other) in enumerate(zip(value, wanted)):
            assert_close(one, other, f"{where}[{i}]")
    elif isinstance(wanted, float):
        assert value == pytest.approx(wanted, rel=1e-4, abs=1e-6), where
    else:
        assert value == wanted, where


def assert_same_pixels(path, wanted):
    """Rounding may move a pixel by one level."""
    ours, theirs = (np.array(Image.open(each)).astype(int) for each in (path, wanted))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= (0 if SAME_BITS else 1)


def contents(folder):
    """What files say, by their names: of JSON all but its seal, which older versions did not write."""
    return {str(path.relative_to(folder)): said(path) for path in files_in(folder)}


def said(path):
    path = Path(path)
    if path.suffix != ".json":
        return path.read_bytes()
    value = json.loads(path.read_bytes())
    return {name: x for name, x in value.items() if name != "seal"} if isinstance(value, dict) else value


def files_in(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock")


def state_of(folder):
    """Names, times and bytes of all there is: nothing was written if it stays the same."""
    return [
        (str(path), path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in sorted(Path(folder).rglob("*"))
    ]


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_in(folder)
    }


def logged(run):
    """The lines of a run's log, without their checksums."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{name: x for name, x in line.items() if name != "crc32"} for line in lines]


def move_here(run):
    """The run as if written with this version of torch: bits are promised with the same one alone."""
    (checkpoint,) = (run / "checkpoints").iterdir()
    path, listed = checkpoint / "state.json", checkpoint / "manifest.json"
    state, manifest = json.loads(path.read_text()), json.loads(listed.read_text())
    version = vqcli("--version").stdout.split()[1]
    here = {"vqcli": version, "torch": torch.__version__, "machine": platform.machine()}
    if state["environment"] != state["environment"] | here:
        state["environment"] |= here
        path.write_text(json.dumps(state))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest["files"]["state.json"] = {"bytes": path.stat().st_size, "sha256": digest}
        listed.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "model", "others"),
    [("run", "model", ()), ("gpt-run", "generator", ("model", "tokens.npy", "tokens.json"))],
)
def test_a_run_goes_on(name, model, others):
    bring(name, *others)
    run, recorded = Path(name), RECORDED[name]
    move_here(run)
    before = logged(run)
    done = again(name)
    assert f"resuming {name} at step {recorded['stopped']} of {recorded['steps']}" in done.stderr
    lines = logged(run)
    assert lines[: len(before)] == before
    assert_close(list(map(untimed, lines[len(before) :])), list(map(untimed, recorded["metrics"])))
    steps = [f"step-{recorded[when]:08d}" for when in ("stopped", "steps")]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == steps
    bring(model, to="wanted")
    made = run / "model"
    assert list(contents(made)) == list(recorded["sha256"])
    for path in files_in(made):
        if path.suffix == ".safetensors":
            ours, theirs = (load_file(root / path.relative_to(made)) for root in (made, Path("wanted")))
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    if SAME_BITS:
        assert hashes(made) == recorded["sha256"]


def test_a_tokenizer_is_used():
    bring("model", "tokens.npy", "tokens.json")
    assert_close(told("info", "model"), RECORDED["model"])
    again("tokens", *AS_STORED)
    assert contents("tokens") == contents(OLD / "tokens")
    again("decoded")
    assert [p.relative_to("decoded") for p in files_in("decoded")] == [
        p.relative_to(OLD / "decoded") for p in files_in(OLD / "decoded")
    ]
    for path in files_in("decoded"):
        if path.suffix == ".png":
            assert_same_pixels(path, OLD / path)


def test_a_checkpoint_is_used():
    bring("run")
    again("checkpoint")
    assert np.array_equal(np.load("checkpoint.npy"), np.load(OLD / "checkpoint.npy"))


def test_a_generator_is_used():
    bring("generator")
    assert_close(told("info", "generator"), RECORDED["generator"])
    again("generated-job")
    for suffix in (".npy", ".json"):
        assert said(f"generated-job{suffix}") == said(OLD / f"generated{suffix}")


@pytest.mark.parametrize("form", ["tokens", "tokens.npy"])
def test_tokens_are_read(form):
    bring("tokens", "tokens.npy", "tokens.json")
    found = told("usage-report", form)
    assert found["diagnosis"].pop("no_latents") == ""  # a key that is newer than the recording
    assert_close(found, RECORDED[f"usage of {form}"])


def test_finished_tokens_stay():
    bring("model", "tokens")
    before = state_of("tokens")
    assert again("tokens", *AS_STORED).stderr.startswith("encode: 12/12 images")
    after = state_of("tokens")
    written = [old for old, new in zip(before, after) if old != new]
    assert [name for name, *_ in before] == [name for name, *_ in after]
    assert [name for name, *_ in written] in ([], ["tokens/index.json"])  # counted anew
    assert contents("tokens") == contents(OLD / "tokens")


@pytest.mark.parametrize(
    ("name", "model", "finished", "told"),
    [
        ("tokens-job", "model", "tokens", "encode: 129/130 images"),
        ("generated-job", "generator", "generated", "generate: 528/1,056 tokens"),
    ],
)
def test_unfinished_tokens_go_on(name, model, finished, told):
    bring(model, f"{name}.partial")
    assert again(name, *(AS_STORED if model == "model" else ())).stderr.startswith(told)
    for suffix in (".npy", ".json"):
        assert said(f"{name}{suffix}") == said(OLD / f"{finished}{suffix}")
    assert not Path(f"{name}.partial").exists()


def test_other_colours_are_another_job():
    bring("model", "tokens")
    done = CliRunner().invoke(app, RECORDED["commands"]["tokens"].split(), prog_name="vqcli")
    assert done.exit_code == 1
    assert "preprocessing resize" in done.stderr
    assert "-> colours to sRGB, resize" in done.stderr
    assert contents("tokens") == contents(OLD / "tokens")


def test_unfinished_images_go_on():
    bring("generator")
    bring("stars-job", to="stars")
    before = {path: path.stat().st_mtime_ns for path in Path("stars").glob("*.png")}
    assert "2 images of star (4), 2 more were there already" in again("stars").stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    ours, theirs = contents("stars"), contents(OLD / "stars")
    assert list(ours) == list(theirs)
    for name in theirs:
        if name.endswith(".png"):
            assert_same_pixels(Path("stars") / name, OLD / "stars" / name)
        else:
            assert ours[name] == theirs[name]


@pytest.mark.parametrize(("stage", "done"), [("features", 129), ("kmeans", 130)])
def test_an_unfinished_codebook_goes_on(stage, done):
    bring(f"codes-{stage}.partial", to="codes.partial")
    said = again("codes").stderr
    assert f"features: {done}/130 images" in said
    assert ("k-means++ start" in said) == (stage == "features")
    made, wanted = Path("codes.safetensors"), OLD / "codes.safetensors"
    torch.testing.assert_close(load_file(made), load_file(wanted), rtol=0, atol=1e-6)
    facts = []
    for path in (made, wanted):
        with safe_open(path, "pt") as file:
            facts.append(file.metadata())
    ours, theirs = facts
    ours.pop("seal")  # newer than the recording
    assert float(ours.pop("objective")) == pytest.approx(float(theirs.pop("objective")))
    assert ours == theirs
    assert not Path("codes.partial").exists()


def test_an_unfinished_evaluation_goes_on():
    recorded = dict(RECORDED["evaluation"])
    folder = recorded.pop("folder")
    if vqcli("--version").stdout.split()[1] != recorded["version"]:
        pytest.skip("an evaluation goes on in the version that began it")
    bring("model", folder)
    done = again("evaluation")
    assert done.stderr.startswith("reconstruct: 129/130 images")
    assert_close(untimed(json.loads(done.stdout)), recorded)
    assert not Path(folder).exists()


def test_an_imported_file_is_not_imported_again():
    bring("published.pt", "cache/imported-2")
    before = state_of("cache")
    recorded = dict(RECORDED["published"])
    files = recorded.pop("files")
    assert hashes(recorded["folder"]) == files
    assert_close(told("info", "published.pt"), recorded)
    done = again("published", *AS_STORED)
    assert "import" not in done.stderr
    assert np.array_equal(np.load("published.npy"), np.load(OLD / "published.npy"))
    assert said("published.json") == said(OLD / "published.json")
    assert state_of("cache") == before


def test_a_file_is_imported_as_it_was():
    bring("published.pt")
    recorded = dict(RECORDED["published"])
    files = recorded.pop("files")
    assert_close(told("info", "published.pt"), recorded)
    assert list(hashes(recorded["folder"])) == list(files)
    if SAME_BITS:
        assert hashes(recorded["folder"]) == files
