"""``vqcli encode`` and ``vqcli decode`` as a user meets them: what is printed, and how they end."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.cli.said import refused
from tests.images import picture, save
from tests.locks import held_elsewhere
from tests.models import make_model
from vqcli.cli.app import app

SPEED = r"[\d,]+\.\d images/s"
HERE = ["--device", "cpu", "-b", "4"]


def vqcli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")


def encode(*arguments):
    return vqcli("encode", *arguments, *HERE, "--num-workers", "0")


def decode(*arguments):
    return vqcli("decode", *arguments, *HERE)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def photos(tmp_path):
    """Five images, of which one is cut off."""
    folder = tmp_path / "photos"
    folder.mkdir()
    data = save(Image.fromarray(picture(32, 32)), "JPEG")
    for i in range(5):
        (folder / f"{i}.jpg").write_bytes(data[:200] if i == 2 else data)
    return folder


def test_there_and_back(tmp_path, model):
    out = tmp_path / "t.npy"
    done = encode("demo:5", "-o", out, "-m", model)
    assert done.exit_code == 0
    assert re.fullmatch(rf"{out}  5 images, 4x4 tokens of 16 codes, {SPEED}, model {model}\n", done.stdout)
    assert done.stderr.startswith("encode: 0/5 images\nencode: 5/5 images")
    back = decode(out, "-o", tmp_path / "out", "-m", model)
    assert (back.exit_code, back.stdout) == (0, f"{tmp_path}/out  5 images, model {model}\n")
    again = decode(out, "-o", tmp_path / "out", "-m", model)
    assert again.stdout == f"{tmp_path}/out  0 images, 5 more were there already, model {model}\n"
    assert sorted(p.name for p in (tmp_path / "out" / "demo" / "train").iterdir()) == [
        f"{i:06d}.png" for i in range(5)
    ]


def test_views_of_every_image(tmp_path, model, photos):
    out = tmp_path / "t.npy"
    done = encode("demo:5", "-o", out, "-m", model, "--augment", "flip")
    told = rf"{out}  5 images in 2 views, 4x4 tokens of 16 codes, {SPEED}, model {model}\n"
    assert re.fullmatch(told, done.stdout)
    assert done.exit_code == 0
    assert done.stderr.startswith("encode: 0/10 views\nencode: 10/10 views")
    assert decode(out, "-o", tmp_path / "out", "-m", model).exit_code == 0
    assert {p.name for p in (tmp_path / "out" / "demo" / "train").iterdir()} == {
        f"{i:06d}#{view}.png" for i in range(5) for view in range(2)
    }
    crops = ("--augment", "ten-crop", "--crop-range", "1.3")
    done = encode(photos, "-o", tmp_path / "t", "-m", model, *crops, "--limit", "3", "--json")
    value = json.loads(done.stdout)
    assert (done.exit_code, value["encoded"], value["views"]) == (3, 2, 10)
    assert value["rejected"] == [{"key": "2.jpg", "reason": "truncated", "detail": "Truncated File Read"}]
    again = encode(photos, "-o", tmp_path / "t", "-m", model, "--limit", "3")
    assert refused(again, "views 10 -> 1", "--force to start over")
    native = encode(photos, "-o", tmp_path / "n", "-m", model, "--augment", "flip", "--size", "native")
    assert refused(native, "--augment flip makes views of one size", "leave one of the two out")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--crop-range", "1.2"), "--crop-range belongs to --augment ten-crop"),
        (("--crop-range", "1.2", "--augment", "flip"), "--crop-range belongs to --augment ten-crop"),
        (("--crop-range", "0.9", "--augment", "ten-crop"), "invalid value for '--crop-range'"),
        (("--augment", "crop"), "'crop' is not one of 'none', 'flip', 'ten-crop'"),
    ],
)
def test_augmentation_that_is_none(tmp_path, model, options, told):
    done = encode("demo:2", "-o", tmp_path / "t.npy", "-m", model, *options)
    assert (done.exit_code, told in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "t.npy").exists()


def test_json_and_quiet(tmp_path, model, photos):
    done = encode(photos, "-o", tmp_path / "t", "-m", model, "--json")
    value = json.loads(done.stdout)
    assert done.exit_code == 3
    assert (value["encoded"], value["grid"], value["codebook_size"]) == (4, [[4, 4]], 16)
    assert value["rejected"] == [{"key": "2.jpg", "reason": "truncated", "detail": "Truncated File Read"}]
    assert (value["out"], value["model"]) == (str(tmp_path / "t"), str(model))
    quiet = encode("demo:2", "-o", tmp_path / "q.npy", "-m", model, "-q")
    assert (quiet.stdout, quiet.stderr) == (f"{tmp_path}/q.npy\n", "")
    value = json.loads(decode(tmp_path / "t", "-o", tmp_path / "out", "-m", model, "--json").stdout)
    assert (value["images"], value["kept"]) == (4, 0)


def test_model_from_the_environment_is_named(tmp_path, model, monkeypatch):
    monkeypatch.setenv("VQCLI_MODEL", str(model))
    assert f"model {model}" in encode("demo:2", "-o", tmp_path / "t.npy").stdout
    assert f"model {model}" in decode(tmp_path / "t.npy", "-o", tmp_path / "out").stdout


def test_a_truncated_image_among_good_ones(tmp_path, model, photos):
    done = encode(photos, "-o", tmp_path / "t.npy", "-m", model)
    assert done.exit_code == 3
    assert done.stdout.splitlines()[1:] == [
        f"rejected, all in {tmp_path}/t.json (1):", "  2.jpg: truncated (Truncated File Read)"
    ]  # fmt: skip
    assert len(np.load(tmp_path / "t.npy")) == 4
    strict = encode(photos, "-o", tmp_path / "s.npy", "-m", model, "--strict")
    assert refused(strict, "2.jpg: truncated (Truncated File Read)", "without --strict")
    for i in (0, 1, 3, 4):
        (photos / f"{i}.jpg").write_bytes(b"?")
    none = encode(photos, "-o", tmp_path / "n.npy", "-m", model)
    assert refused(none, "none of 5 images could be used (not-an-image, truncated)", f"{tmp_path}/n.partial")


def test_inputs_that_cannot_be(tmp_path, model, photos, monkeypatch):
    out = ("-o", tmp_path / "t.npy")
    (tmp_path / "empty").mkdir()
    assert refused(encode(tmp_path / "away", *out, "-m", model), "away does not exist", "a folder")
    assert refused(encode(tmp_path / "empty", *out, "-m", model), "empty holds no images", ".jpg")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/away")
    monkeypatch.setenv("VQCLI_CACHE", "/away")
    assert refused(encode("demo:1", *out), "llamagen-vq16 (FoundationVision/LlamaGen, vq_ds16", "vqcli train")
    assert refused(encode("demo:1", *out, "-m", tmp_path / "nope"), "there is no model at", "model folder")
    assert refused(encode("demo:1", *out, "-m", photos), "is no model folder", "vqcli train makes one")
    assert refused(encode("demo:1", *out, "-m", model, "--size", "native"), "one size only", "-o tokens/")
    assert refused(encode("demo:1", *out, "-m", model, "--size", "9"), "multiples of 2", "N, HxW or native")
    assert refused(encode("demo:1", *out, "-m", model, "--split", "tset"), "no split 'tset'", "'test'")
    (tmp_path / "file").touch()
    assert refused(encode("demo:1", "-o", tmp_path / "file", "-m", model), "holds no tokens", "another -o")
    inside = encode("demo:1", "-o", tmp_path / "file" / "t.npy", "-m", model)
    assert inside.exit_code == 1
    assert "internal" not in inside.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file", "photos"]


def test_a_place_that_is_taken(tmp_path, model):
    out = ("-o", tmp_path / "t.npy", "-m", model)
    assert encode("demo:2", *out).exit_code == 0
    assert refused(encode("demo:3", *out), "t.npy exists already", "--force")
    assert encode("demo:3", *out, "--force").exit_code == 0
    out = ("-o", tmp_path / "t", "-m", model)
    assert encode("demo:2", *out).exit_code == 0
    assert encode("demo:2", *out).exit_code == 0
    assert refused(encode("demo:3", *out), "images 2 -> 3", "--force to start over")
    assert encode("demo:3", *out, "--force").exit_code == 0
    with held_elsewhere(tmp_path / "t"):
        assert refused(encode("demo:3", *out), "in use by another vqcli process", "wait for it")


def test_tokens_that_do_not_fit(tmp_path, model):
    other = make_model(tmp_path / "other", seed=1)
    encode("demo:2", "-o", tmp_path / "t.npy", "-m", other)
    out = ("-o", tmp_path / "out", "-m", model)
    assert refused(decode(tmp_path / "t.npy", *out), "is of tokenizer ", "tokenizer that made it")
    np.save(tmp_path / "far.npy", np.full((3, 4, 4), 99))
    far = decode(tmp_path / "far.npy", *out)
    assert refused(far, "token 99 (image 0, position 0), the codebook ends at 15", "-m")
    np.save(tmp_path / "float.npy", np.zeros((3, 4, 4)))
    assert refused(decode(tmp_path / "float.npy", *out), "holds float64 (3, 4, 4)", "vqcli encode wrote")
    (tmp_path / "text.npy").write_text("not an array")
    assert refused(decode(tmp_path / "text.npy", *out), "is no readable array", "vqcli encode wrote")
    assert refused(decode(tmp_path / "away.npy", *out), "away.npy does not exist", "vqcli encode wrote")
    assert refused(decode(model, *out), "holds no tokens", "vqcli encode wrote")
    assert not (tmp_path / "out").exists()


def test_unfinished_tokens(tmp_path, model):
    encode("demo:2", "-o", tmp_path / "t", "-m", model)
    (tmp_path / "t" / "index.json").unlink()
    for result in (
        decode(tmp_path / "t", "-o", tmp_path / "out", "-m", model), vqcli("usage-report", tmp_path / "t")
    ):  # fmt: skip
        assert refused(result, "is not finished", "it continues")


def test_names_cannot_break_the_terminal(tmp_path, model):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "\x1b[31m\nx.png").touch()
    (tmp_path / "in" / "y.png").write_bytes(save(Image.fromarray(picture()), "PNG"))
    done = encode(tmp_path / "in", "-o", tmp_path / "t.npy", "-m", model)
    assert r"  \x1b[31m\nx.png: empty-file" in done.stdout.splitlines()
    assert "\x1b" not in done.output
