"""``vqcli import`` as a user meets it, and published files given to other commands."""

import json
import os

import pytest
import torch
from typer.testing import CliRunner

from tests.importers.foreign import CASES
from tests.importers.foreign_generators import gpt, gpt_lc, gpt_state, lc_state
from tests.models import make_model
from vqcli import files
from vqcli.cli.app import app

CASE = CASES["llamagen"]


def vqcli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    torch.save({"model": CASE.state(CASE.model())}, tmp_path / "vq.pt")
    return tmp_path / "vq.pt"


def test_what_is_told(tmp_path, file):
    done = vqcli("import", file, "-o", tmp_path / "out")
    assert done.exit_code == 0
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    print_ = json.loads((tmp_path / "out" / "config.json").read_text())["fingerprint"]
    assert rows == {
        "folder": f"{tmp_path}/out",
        "layout": "llamagen",
        "weights": "'model' of vq.pt",
        "codes": "48 of width 8",
        "metric": "cosine (the file does not tell: --metric)",
        "images": "256x256 pixels, a token for 8x8",
        "fingerprint": print_,
        "licence": "not told",
    }
    assert "import: 3/3 steps" in done.stderr
    assert f"{tmp_path}/out" in vqcli("info", tmp_path / "out").stdout


def test_json_quiet_and_options(tmp_path, file):
    options = ("--metric", "l2", "--size", "32x48", "--json")
    value = json.loads(vqcli("import", file, "-o", tmp_path / "a", *options).stdout)
    assert (value["layout"], value["image_size"], value["codebook_size"]) == ("llamagen", [32, 48], 48)
    assert value["record"]["sha256"] == files.sha256(file)
    quiet = vqcli("import", file, "-o", tmp_path / "b", "-q")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, f"{tmp_path}/b\n", "")
    again = vqcli("import", file, "-o", tmp_path / "b")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "b exists already\nhint: --force replaces it" in again.stderr
    assert vqcli("import", file, "-o", tmp_path / "b", "--force").exit_code == 0


def test_averages_and_licence(tmp_path):
    case = CASES["simvq, averaged"]
    torch.save({"state_dict": case.state(case.model())}, tmp_path / "a.ckpt")
    shown = vqcli("import", tmp_path / "a.ckpt", "-o", tmp_path / "out").stdout
    assert "'state_dict' of a.ckpt, running averages" in shown
    assert "MIT (its authors' code)" in shown
    assert "64x64 pixels" in shown


def test_scales(tmp_path):
    case = CASES["var"]
    torch.save(case.state(case.model()), tmp_path / "var.pth")
    done = vqcli("import", tmp_path / "var.pth", "-o", tmp_path / "out", "--scales", "1,2,4")
    assert "16x16 pixels" in done.stdout
    assert "weights      var.pth\n" in done.stdout


def rows_of(done):
    assert done.exit_code == 0, done.output
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines())


def test_generators(tmp_path, file):
    """With their tokenizer, and without; then ``info`` tells the same."""
    torch.save({"model": gpt_state(gpt())}, tmp_path / "gpt.pt")
    rows = rows_of(vqcli("import", tmp_path / "gpt.pt", "-o", tmp_path / "alone"))
    assert rows == {
        "folder": f"{tmp_path}/alone",
        "layout": "llamagen_gpt",
        "weights": "'model' of gpt.pt",
        "network": "gpt, layers 2, heads 2, width 128 (the file does not tell: --heads)",
        "parameters": f"{sum(p.numel() for p in gpt().parameters()):,}",
        "classes": "5",
        "images": "256x256 pixels, 16x16 tokens of 48 codes (the file does not tell: --size)",
        "tokenizer": "not here: vqcli generate will need --tokenizer",
        "sampling": "temperature 1.0, top_k 0, top_p 1.0, cfg 1.0, cfg_interval -1",
        "licence": "not told",
    }
    options = ("--tokenizer", file, "--size", 32, "--heads", 4)
    rows = rows_of(vqcli("import", tmp_path / "gpt.pt", "-o", tmp_path / "whole", *options))
    assert rows["network"] == "gpt, layers 2, heads 4, width 128"
    assert rows["images"] == "32x32 pixels, 4x4 tokens of 48 codes"
    assert rows["tokenizer"] == f"{tmp_path}/whole/tokenizer"
    told = rows_of(vqcli("info", tmp_path / "whole"))
    print_ = json.loads((tmp_path / "whole" / "tokenizer" / "config.json").read_text())["fingerprint"]
    assert told["kind"] == f"generator, {rows['network']}"
    assert told["classes"] == "5, without names"
    assert told["fingerprint"] == f"{print_} (of the tokenizer)"
    assert {name: told[name] for name in ("images", "tokenizer", "sampling")} == {
        name: rows[name] for name in ("images", "tokenizer", "sampling")
    }
    assert told["weights"].startswith(f"{rows['parameters']} numbers, ")
    value = json.loads(vqcli("info", tmp_path / "alone", "--json").stdout)
    assert (value["kind"], value["tokenizer"], value["grid"]) == ("generator", None, [[16, 16]])


def test_generators_as_json(tmp_path):
    torch.save(lc_state(gpt_lc()), tmp_path / "lc.pth")
    done = vqcli("import", tmp_path / "lc.pth", "-o", tmp_path / "out", "--classes", 5, "--json")
    value = json.loads(done.stdout)
    assert (value["kind"], value["classes"], value["codebook_size"]) == ("generator", 5, 20)
    assert (value["grid"], value["assumed"], value["tokenizer"]) == ([[4, 4]], ["heads"], None)
    assert value["record"]["layout"] == "gpt_lc"
    refused = vqcli("import", tmp_path / "lc.pth", "-o", tmp_path / "b", "--classes", 100)
    assert (
        "vocabulary of 25 codes and classes has no room for 100 classes\nhint: give --classes"
        in refused.stderr
    )


def test_what_cannot_be(tmp_path, file):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/canary",)

    torch.save({"model": {"a": torch.ones(2)}, "args": Evil()}, tmp_path / "evil.pt")
    torch.save({"a": torch.ones(2)}, tmp_path / "other.pt")
    folder = make_model(tmp_path / "model")
    before = sorted(tmp_path.iterdir())
    for arguments, code, sentence, hint in [
        ((tmp_path / "away.pt",), 1, "away.pt does not exist", "safetensors file"),
        ((tmp_path / "evil.pt",), 1, "could run code: posix.system", "where it was made"),
        (
            (tmp_path / "other.pt",),
            1,
            "not known: 1 keys such as 'a'",
            "known: llamagen",
        ),
        ((file, "--scales", "1,2"), 1, "its layout leaves no --scales open", "leave it out"),
        ((file, "--tokenizer", folder), 1, "its layout leaves no --tokenizer open", "leave it out"),
        ((file, "--heads", "0"), 2, "'--heads'", ""),
        ((file, "--size", "30"), 1, "multiples of 8", "another --size"),
        ((file, "--size", "native"), 2, "N or HxW", ""),
        ((file, "--scales", "1,b"), 2, "not of the form 1,2,4", ""),
        ((file, "--metric", "l3"), 2, "'l3' is not one of", ""),
    ]:
        done = vqcli("import", *arguments, "-o", tmp_path / "out")
        assert (done.exit_code, done.stdout) == (code, "")
        assert sentence in done.stderr
        assert hint in done.stderr
        assert "internal" not in done.stderr
        reason = vqcli("import", *arguments, "-o", tmp_path / "out", "--json")
        assert code == 2 or json.loads(reason.stdout)["error"] in done.stderr
    assert sorted(tmp_path.iterdir()) == before
    assert vqcli("import", file).exit_code == 2


def test_files_in_place_of_models(tmp_path, file):
    """Imported once; then every command finds the same model."""
    rest = ("--size", 16, "--num-workers", 0, "--device", "cpu")
    tokens = tmp_path / "t.npy"
    assert vqcli("encode", "demo:2", "-o", tokens, "-m", file, *rest).exit_code == 0
    (folder,) = (tmp_path / "cache" / "imported-2").glob("[0-9a-f]*")
    written = (folder / "config.json").stat().st_mtime_ns
    assert vqcli("decode", tokens, "-o", tmp_path / "images", "-m", file, "--device", "cpu").exit_code == 0
    assert f"folder       {folder}" in vqcli("info", file).stdout
    assert "48 of width 8" in vqcli("usage-report", file).stdout
    assert vqcli("usage-report", file, "--images", "demo:2", *rest).exit_code == 0
    assert vqcli("prune", file, "-o", tmp_path / "pruned", "--tokens", tokens).exit_code == 0
    assert (folder / "config.json").stat().st_mtime_ns == written
    file.write_bytes(file.read_bytes()[:5000])
    damaged = vqcli("info", file)
    assert (damaged.exit_code, damaged.stdout) == (1, "")
    assert "vq.pt cannot be read" in damaged.stderr


def test_a_folder_that_holds_one_model(tmp_path, file):
    folder = tmp_path / "published"
    folder.mkdir()
    file.rename(folder / file.name)
    done = vqcli("import", folder, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "out" / "config.json").is_file()
