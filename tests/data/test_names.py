"""What a text names: one answer for all commands, and sources that speak for themselves."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.test_sources import make_folder, make_list, make_npz, make_parquet, make_tar
from tests.data.toys import SOURCES, GreySource, SolidSource
from tests.streams import piped
from vqcli.data.images.demo import DemoSource
from vqcli.data.images.files import ListSource
from vqcli.data.images.folder import FolderSource
from vqcli.data.images.forms import forms
from vqcli.data.images.open import claimant, open_source
from vqcli.data.names import named
from vqcli.errors import VqcliError
from vqcli.parts import PARTS
from vqcli.registry import resolve
from vqcli.types import Reading


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, target in SOURCES.items():
        monkeypatch.setitem(PARTS["sources"], name, target)


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("made", "text", "kind"),
    [
        (["t/plan.json", "t/1.png"], "t", "tokens"),
        (["t/plan.json", "t/config.json"], "t", "tokens"),
        (["l/plan.json", "l/1.png"], "l", "latents"),
        ([], "absent.npy", "tokens"),
        (["m/config.json", "m/1.png"], "m", "model"),
        (["r/recipe.yaml", "r/samples/1.png"], "r", "model"),
        (["r/checkpoints/x"], "r", "model"),
        (["w.pt"], "w.pt", "model"),
        (["w.PTH"], "w.PTH", "model"),
        (["w.pth.tar"], "w.pth.tar", "model"),
        (["w.safetensors"], "w.safetensors", "model"),
        (["w[1].ckpt"], "w[1].ckpt", "model"),
        (["notes.md"], "notes.md", "model"),
        ([], "absent.png", "model"),
        ([], "absent", "model"),
        ([], "owner/name", "model"),
        ([], "hf://owner/name", "model"),
        (["i/1.png"], "i", "images"),
        (["i/1.txt"], "i", "images"),
        (["run.pt/1.png"], "run.pt", "images"),
        (["1.png"], "1.png", "images"),
        (["1.txt"], "1.txt", "images"),
        (["1.tar"], "1.tar", "images"),
        (["1.npz"], "1.npz", "images"),
        ([], "absent/*.png", "images"),
        ([], "-", "images"),
        (["-"], "-", "images"),
        ([], "demo", "images"),
        ([], "demo:7", "images"),
        (["demo/config.json"], "demo", "model"),
    ],
)
def test_named(made: list[str], text: str, kind: str, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for name in made:
        write(tmp_path / name)
    for plan in tmp_path.glob("*/plan.json"):
        plan.write_text('{"latents": {}}' if kind == "latents" else '{"tokens": {}}')
    assert named(text) == kind


def test_each_source_claims_its_own(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "f.tar")
    assert claimant(str(folder)) is FolderSource
    assert claimant("demo") is claimant("demo:") is DemoSource
    for text in ("-", str(make_list(tmp_path)), str(folder / "cat" / "00.png"), str(tmp_path / "*.tar")):
        assert claimant(text) is ListSource
    for kind, write in {"tar": make_tar, "parquet": make_parquet, "npz": make_npz}.items():
        assert claimant(str(write(tmp_path / f"a.{kind}"))) is resolve("sources", kind)
        assert claimant(str(tmp_path / f"absent.{kind}")) is None
    assert claimant(str(tmp_path / "demo")) is None


def test_a_model_folder_can_still_be_read_as_images(tmp_path: Path) -> None:
    """Where only images can be meant, nothing else is asked for."""
    write(make_folder(tmp_path) / "config.json")
    assert len(open_source(str(tmp_path))) == 6


def test_a_glob_may_match_one_list(tmp_path: Path) -> None:
    make_list(tmp_path)
    assert len(open_source(str(tmp_path / "l*.txt"))) == 6


def test_forms_are_those_of_the_classes() -> None:
    told = [resolve("sources", name).FORM for name in PARTS["sources"]]
    assert all(told)
    assert forms() == f"{', '.join(told[:-1])}, or {told[-1]}"


def test_forms_import_no_source() -> None:
    code = "import sys; from vqcli.data.images.forms import forms; forms(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.usefixtures("toys")
def test_a_source_from_outside() -> None:
    assert "solid:N" in forms()
    assert claimant("solid:5") is SolidSource
    assert named("solid:5") == "images"
    source = open_source("solid:5", Reading(size=(4, 6)))
    assert (len(source), source[2].image.size, source[2].image.getpixel((0, 0))) == (5, (6, 4), (74, 182, 46))
    with pytest.raises(VqcliError, match="no splits"):
        open_source("solid:5", Reading(split="train"))
    with pytest.raises(VqcliError, match="does not exist") as caught:
        open_source("solid:")
    assert "solid:N" in caught.value.hint


@pytest.mark.usefixtures("toys")
def test_shards_of_a_kind_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, in a folder, by a glob, in splits: all of it follows from how they end."""
    make_folder(tmp_path)
    (tmp_path / "train-0.grey").write_bytes(bytes([1, 2, 3]))
    (tmp_path / "val-0.GREY").write_bytes(bytes([9]))
    for text, count in ((tmp_path, 4), (tmp_path / "*-0*", 4), (tmp_path / "val-0.GREY", 1)):
        source = open_source(str(text))
        assert isinstance(source, GreySource)
        assert len(source) == count
    assert open_source(str(tmp_path), Reading(split="validation"))[0].image.getpixel((0, 0)) == (9, 9, 9)
    make_tar(tmp_path / "a.tar")
    with pytest.raises(VqcliError, match=r"mixes \.grey and \.tar"):
        open_source(str(tmp_path))


def test_names_on_stdin_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path)
    monkeypatch.setattr(sys, "stdin", piped(f"{tmp_path}/cat/00.png\n"))
    assert named("-") == "images"
    assert len(open_source("-")) == 1
