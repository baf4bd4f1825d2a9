"""``vqcli reconstruct`` as a user meets it."""

import json
import re

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.cli.said import refused
from tests.images import picture, save
from tests.models import make_generator, make_model
from vqcli.cli.app import app


def reconstruct(*arguments):
    given = [*map(str, arguments), "--num-workers", "0", "--device", "cpu"]
    return CliRunner().invoke(app, ["reconstruct", *given], prog_name="vqcli")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    data = save(Image.fromarray(picture(32, 32)), "JPEG")
    for i in range(5):
        (folder / f"{i}.jpg").write_bytes(data[:200] if i == 2 else data)
    return folder


def test_what_is_said(tmp_path, model):
    out = tmp_path / "out"
    done = reconstruct("demo:5", "-m", model, "-o", out)
    first, second = done.stdout.splitlines()
    told = rf"{out}  5 images, 8x8 pixels, [\d,]+\.\d images/s, model {model}"
    assert re.fullmatch(told, first)
    assert second == f"{out}/sheet.png  some of them, originals to the left"
    assert done.exit_code == 0
    again = reconstruct("demo:5", "-m", model, "-o", out)
    assert again.stdout.startswith(f"{out}  0 images, 8x8 pixels, 5 more were there already, model {model}\n")
    assert reconstruct("demo:5", "-m", model, "-o", out, "-q").stdout == f"{out}\n"


def test_bad_images_are_listed(tmp_path, model, photos):
    out = tmp_path / "out"
    done = reconstruct(photos, "-m", model, "-o", out, "--json", "--limit", 4, "--size", "16")
    value = json.loads(done.stdout)
    assert (done.exit_code, value["images"], value["size"]) == (3, 3, [16, 16])
    assert [(bad["key"], bad["reason"]) for bad in value["rejected"]] == [("2.jpg", "truncated")]
    assert "warning: 1 input was rejected" in done.stderr
    assert (
        "rejected (1):\n  2.jpg: truncated" in reconstruct(photos, "-m", model, "-o", tmp_path / "b").stdout
    )
    strict = reconstruct(photos, "-m", model, "-o", tmp_path / "c", "--strict")
    assert refused(strict, "2.jpg: truncated", "without --strict")


def test_a_generator_reconstructs_nothing(tmp_path, model):
    generator = make_generator(tmp_path / "generator", model)
    done = reconstruct("demo:2", "-m", generator, "-o", tmp_path / "out")
    assert refused(done, "holds a generator, not a tokenizer", "its tokenizer is")
    assert not (tmp_path / "out").exists()
