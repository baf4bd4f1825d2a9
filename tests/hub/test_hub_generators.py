"""Generators of the Hub come with their tokenizers, by short name and as folders of ours."""

import io
import json
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import constants

from tests.hub.commands import vqcli
from tests.importers.foreign import CASES
from tests.importers.foreign_generators import gpt, gpt_state
from tests.models import make_generator, make_model
from vqcli import files
from vqcli.checkpoint.generator import load_generator
from vqcli.checkpoint.tokenizer import fingerprint, load_tokenizer
from vqcli.library import aliases
from vqcli.library import open as models
from vqcli.library.alias import Published
from vqcli.library.open import generator_tokenizer, open_generator
from vqcli.types import silent

VQ = CASES["llamagen"]
FILE = "c2i_T.pt"


def saved(value):
    held = io.BytesIO()
    torch.save(value, held)
    return held.getvalue()


@pytest.fixture
def names(hub, tmp_path, monkeypatch):
    """Short names of a tokenizer and of a generator's file, for images of two sizes."""
    hub.commit("them/vq", {"vq.pt": saved({"model": VQ.state(VQ.model())})})
    hub.commit("them/gpt", {FILE: saved(gpt_state(gpt())), "README.md": b"gpt"})
    known = {"tiny-vq": Published("them/vq", "vq.pt", importer="llamagen", what="a test")}
    for size in (32, 64):
        options = {"kind": "generator", "codes": 48, "size": size, "tokenizer": "tiny-vq", "what": "a test"}
        options |= {"system": "Tiny", "importer": "llamagen_gpt"}
        known[f"tiny-gpt-{size}"] = Published("them/gpt", FILE, **options)
    for name, entry in known.items():
        monkeypatch.setitem(aliases.ALIASES, name, entry)


def test_a_cold_cache_then_none_to_ask(hub, names, tmp_path, monkeypatch):
    done = vqcli("pull", "tiny-gpt-32", "-o", tmp_path / "gpt")
    assert done.exit_code == 0, done.output
    assert "download vq.pt" in done.stderr
    assert f"download {FILE}" in done.stderr
    check_copy(tmp_path / "gpt")

    hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = vqcli("pull", "tiny-gpt-32", "-o", tmp_path / "again")
    assert done.exit_code == 0, done.output
    assert hub.log == []
    assert files.manifest(tmp_path / "again") == files.manifest(tmp_path / "gpt")
    assert vqcli("pull", tmp_path / "gpt", "-o", tmp_path / "third").exit_code == 0
    assert files.manifest(tmp_path / "third") == files.manifest(tmp_path / "gpt")


@torch.inference_mode()
def check_copy(folder):
    """Whole in itself: our generator, its tokenizer, and one fingerprint in both."""
    assert files.verified(folder)
    found, tokenizer = load_generator(folder), load_tokenizer(folder / "tokenizer")
    assert found.spec.fingerprint == tokenizer.fingerprint == fingerprint(VQ.model())
    assert (found.grid, found.spec.image_size) == (((4, 4),), (32, 32))
    labels, ids = torch.tensor([2]), torch.arange(15)[None]
    assert torch.equal(found.logits(labels, ids), gpt().logits(labels, ids))


def test_the_cache_holds_both_apart(hub, names, tmp_path):
    done = vqcli("pull", "tiny-gpt-32", "--json")
    folder = done_folder(done)
    assert not (folder / "tokenizer").exists()
    tokenizer = done_folder(vqcli("pull", "tiny-vq", "--json"))
    assert generator_tokenizer(folder, "tiny-gpt-32", None, silent) == tokenizer
    assert generator_tokenizer(folder, str(folder), None, silent) is None
    other = make_model(tmp_path / "other")
    assert generator_tokenizer(folder, "tiny-gpt-32", str(other), silent) == other
    told = json.loads(vqcli("info", "tiny-gpt-32", "--json").stdout)
    assert (told["tokenizer"], told["fingerprint"]) == ("tiny-vq", fingerprint(VQ.model()))


def done_folder(done):
    assert done.exit_code == 0, done.output
    return Path(json.loads(done.stdout)["folder"])


def test_sizes_are_imports_of_their_own(hub, names, tmp_path):
    """The same bytes for images of 32 and 64 pixels, and as a file that tells neither size nor tokenizer."""
    place = f"hf://them/gpt/{FILE}"
    references = ("tiny-gpt-32", "tiny-gpt-64", place)
    folders = {name: done_folder(vqcli("pull", name, "--json")) for name in references}
    assert len(set(folders.values())) == 3
    grids = [load_generator(folder).grid for folder in folders.values()]
    assert grids == [((4, 4),), ((8, 8),), ((16, 16),)]
    assert load_generator(folders[place]).spec.fingerprint == ""
    assert generator_tokenizer(folders[place], place, None, silent) is None


def test_what_is_here(hub, names):
    def listed():
        rows = json.loads(vqcli("list", "models", "--json").stdout)
        return {row["name"]: row for row in rows if row["name"].startswith("tiny")}

    rows = listed()
    assert [row["kind"] for row in rows.values()] == ["tokenizer", "generator", "generator"]
    assert [row["tokenizer"] for row in rows.values()] == ["", "tiny-vq", "tiny-vq"]
    assert vqcli("pull", f"hf://them/gpt/{FILE}").exit_code == 0
    assert not any(row["cached"] for row in listed().values())  # its tokenizer is not
    assert vqcli("pull", "tiny-vq").exit_code == 0
    assert all(row["cached"] for row in listed().values())
    lines = vqcli("list", "models").stdout.splitlines()
    first = [line.split(maxsplit=1)[0] if line else "" for line in lines]
    assert first.index("tiny-vq") < lines.index("Tiny generators") < first.index("tiny-gpt-32")
    assert lines[first.index("tiny-vq")].split()[2] == "here"


def test_who_names_none(hub, names, monkeypatch):
    told = []
    monkeypatch.setattr(type(silent), "say", lambda _, text: told.append(text))
    monkeypatch.setattr(models, "GENERATOR", "tiny-gpt-32")
    generator, folder = open_generator(None, torch.device("cpu"))
    assert "no --model: tiny-gpt-32, a test" in told
    assert generator.grid == ((4, 4),)
    tokenizer = load_tokenizer(generator_tokenizer(folder, None, None, silent))
    assert tokenizer.fingerprint == generator.spec.fingerprint
    monkeypatch.setenv("VQCLI_MODEL", "tiny-gpt-64")
    generator, folder = open_generator(None, torch.device("cpu"))
    assert generator.grid == ((8, 8),)
    assert generator_tokenizer(folder, None, None, silent)


def test_push_then_pull(hub, tmp_path):
    model = make_generator(tmp_path / "gpt", make_model(tmp_path / "vq"))
    assert vqcli("push", model, "me/gpt", "--yes").exit_code == 0
    (sent,) = hub.repositories["me/gpt"]
    parts = {"config.json", "model.safetensors", "README.md"}
    inside = {f"tokenizer/{name}" for name in (*parts, "codebook.safetensors")}
    assert set(sent) == parts | inside | {"classes.json", "manifest.json"}
    _, told, card = sent["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(told)["tags"] == ["image-generation", "vector-quantization"]
    assert "vqcli generate --prompt-class 0 -o images/ -m me/gpt\n" in card
    assert 'vqcli.load("me/gpt")' in card
    assert "THIS_FOLDER" not in card
    assert "encode" not in card
    assert "generator:\n  name: gpt" in card
    done = vqcli("pull", "me/gpt", "-o", tmp_path / "back")
    assert done.exit_code == 0, done.output
    names = [path for path in (tmp_path / "back").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "back").as_posix(): path.read_bytes() for path in names} == sent
    assert "generator, gpt" in vqcli("info", "me/gpt").stdout


def test_push_says_how_to_go_on(hub, tmp_path):
    alone = make_generator(tmp_path / "gpt", make_model(tmp_path / "vq"), copied=False)
    done = vqcli("push", alone, "me/gpt", "--yes")
    assert "Next: vqcli generate --prompt-class 0 -m me/gpt" in done.stdout
    assert "-m me/gpt --tokenizer TOKENIZER\n" in hub.repositories["me/gpt"][0]["README.md"].decode()


def test_generate_from_a_cold_cache_then_offline(hub, names, tmp_path, monkeypatch):
    """All that a first user types: the class. 1,000 of them, told by name too."""
    hub.commit("them/gpt", {FILE: saved({"model": gpt_state(gpt(classes=1000))})})
    monkeypatch.setattr(models, "GENERATOR", "tiny-gpt-32")
    monkeypatch.chdir(tmp_path)
    done = vqcli("generate", "--prompt-class", "207", "-n", 2, "--device", "cpu")
    assert done.exit_code == 0, done.output
    said = ("no --model: tiny-gpt-32", "download vq.pt", f"download {FILE}")
    assert all(text in done.stderr for text in said)
    first = {path.name: path.read_bytes() for path in Path("generated").glob("*.png")}
    assert sorted(first) == [f"207-golden_retriever-s0-0000{i}.png" for i in range(2)]

    hub.log.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = vqcli("generate", "--prompt-class", "golden ret", "-n", 2, "-o", "offline", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert hub.log == []
    assert {path.name: path.read_bytes() for path in Path("offline").glob("*.png")} == first
