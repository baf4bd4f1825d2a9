"""``vqcli usage-report`` as a user meets it."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.models import make_model
from vqcli.cli.app import app

STORED = {
    "images": "8 images of x", "tokens": 128, "used": 12, "codebook_size": 16, "utilization": 0.75,
    "uniform_expectation": 0.99, "perplexity": 7.5,
}  # fmt: skip


def vqcli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def tokens(tmp_path):
    """Eight codes of ten, code 0 most often."""
    ids = np.array([0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 0, 0], np.uint8).reshape(3, 2, 2)
    np.save(tmp_path / "t.npy", ids)
    return tmp_path / "t.npy"


def test_tokens(tokens):
    done = vqcli("usage-report", tokens, "--codebook-size", 10)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == str(tokens)
    assert "utilization  80.00%  8 of 10 codes" in lines
    assert "most used    0 (5), 1 (1), 2 (1), 3 (1), 4 (1), 5 (1)" in lines
    assert not any(line.startswith("healthy") for line in lines)
    assert any(line.strip().startswith("never") for line in lines)
    assert vqcli("usage-report", tokens, "--codebook-size", 10, "-q").stdout == "0.8\n"
    assert vqcli("utilization-report", tokens, "--codebook-size", 10).stdout == done.stdout


def test_json_is_one_value(tokens, model):
    value = json.loads(vqcli("usage-report", tokens, "--codebook-size", 10, "--json").stdout)
    assert (value["utilization"], value["usage"]["dead"], value["geometry"]) == (0.8, 2, None)
    arguments = ("usage-report", model, "--images", "demo:3", "--num-workers", 0, "--device", "cpu", "--json")
    value = json.loads(vqcli(*arguments).stdout)
    assert (value["usage"]["tokens"], value["geometry"]["codes"]) == (48, 16)
    value = json.loads(vqcli("usage-report", model, "--json").stdout)
    assert (value["utilization"], value["usage"], value["stored"]) == (None, None, None)


def test_a_check_for_scripts(tokens):
    command = ("usage-report", tokens, "--codebook-size", 10, "--fail-below")
    assert vqcli(*command, 0.8).exit_code == 0
    failed = vqcli(*command, 0.81)
    assert failed.exit_code == 3
    assert "warning: utilization 80.0000% is below 81.0000%" in failed.stderr
    assert "80.00%" in failed.stdout
    assert vqcli(*command, 1.5).exit_code == 2


def test_codes_seen_once_leave_it_open_whether_a_codebook_is_healthy(tmp_path):
    ids = np.array([*range(4), *(4 + i % 8 for i in range(76))], np.uint8)
    np.save(tmp_path / "some.npy", ids.reshape(5, 4, 4))
    lines = vqcli("usage-report", tmp_path / "some.npy", "--codebook-size", 16).stdout.splitlines()
    assert "utilization  75.00%  12 of 16 codes" in lines
    assert lines[-1].startswith("no alarm: 4 codes were not seen, but 4 only once")


def test_a_sound_codebook_is_called_healthy(tmp_path):
    np.save(tmp_path / "even.npy", np.arange(256, dtype=np.uint8).reshape(16, 4, 4) % 8)
    done = vqcli("usage-report", tmp_path / "even.npy", "--codebook-size", 8)
    assert done.stdout.splitlines()[-1].startswith("healthy: ")
    none = vqcli("usage-report", tmp_path / "even.npy", "--codebook-size", 16)
    assert "healthy" not in none.stdout
    assert "likely cause: " in none.stdout


def test_stored_and_never_measured(tmp_path, model):
    never = vqcli("usage-report", model)
    assert never.exit_code == 0
    assert "utilization     was never measured: name images with --images" in never.stdout
    assert vqcli("usage-report", model, "--fail-below", 0.1).exit_code == 3
    told = vqcli("usage-report", make_model(tmp_path / "told", usage=STORED))
    assert "measured on     8 images of x, 128 tokens, at export" in told.stdout
    assert "utilization     75.00%  12 of 16 codes" in told.stdout
    assert vqcli("usage-report", tmp_path / "told", "--fail-below", 0.76).exit_code == 3


def test_page(tmp_path, tokens, model):
    page = tmp_path / "page.html"
    done = vqcli("usage-report", tokens, "--codebook-size", 10, "-o", page)
    assert f"wrote {page}" in done.stderr
    assert page.read_text().startswith("<!")
    for older in (page.read_bytes(), b""):  # the latter as mktemp leaves it
        page.write_bytes(older)
        assert vqcli("usage-report", tokens, "--codebook-size", 10, "-o", page).exit_code == 0
    before = tokens.read_bytes()
    taken = vqcli("usage-report", tokens, "--codebook-size", 10, "-o", tokens)
    assert (taken.exit_code, tokens.read_bytes()) == (1, before)
    assert "exists already, and is no page of vqcli" in taken.stderr
    none = vqcli("usage-report", model, "-o", tmp_path / "none.html")
    assert (none.exit_code, none.stdout) == (1, "")
    assert "hint: name --images" in none.stderr


def test_rejected_images(tmp_path, model):
    from PIL import Image

    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").touch()
    command = ("usage-report", model, "--images", tmp_path / "in", "--num-workers", 0, "--device", "cpu")
    done = vqcli(*command)
    assert done.exit_code == 3
    assert done.stdout.splitlines()[-2:] == ["rejected (1):", "  b.png: empty-file"]
    strict = vqcli(*command, "--strict")
    assert strict.exit_code == 1
    assert strict.stderr.splitlines()[-2].startswith("error: b.png: empty-file")


def test_what_cannot_be(tmp_path, tokens, model):
    for arguments, code, sentence in [
        ((tokens,), 1, "does not say how large its codebook is"),
        ((tokens, "--codebook-size", 5), 1, "tokens from 0 to 7 do not fit a codebook of 5 codes"),
        ((tokens, "--images", "demo:2"), 1, "holds tokens, which are counted as they are"),
        ((tmp_path / "away.npy",), 1, "away.npy does not exist"),
        ((tmp_path / "away",), 1, "there is no model at"),
        ((tmp_path,), 1, "is no model folder"),
        ((model, "--images", tmp_path / "away"), 1, "away does not exist"),
        ((model, "--limit", 3), 2, "choose among --images"),
    ]:
        done = vqcli("usage-report", *arguments)
        assert (done.exit_code, done.stdout) == (code, "")
        assert sentence in done.stderr.replace("\n", " ")
        assert "internal" not in done.stderr
