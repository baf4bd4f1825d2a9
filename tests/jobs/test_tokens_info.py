"""What ``vqcli info`` tells of tokens and latents."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.jobs.encoded import options, pictures
from tests.models import make_model
from vqcli.errors import VqcliError
from vqcli.jobs.encode import encode
from vqcli.jobs.info import describe
from vqcli.parts import PARTS


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", codes=300)


@pytest.mark.parametrize("form", ["t.npy", "t"])
def test_file_and_folder_tell_the_same(tmp_path, model, form):
    folder = pictures(tmp_path / "photos", ["cat/1.png", "cat/2.png", "dog/1.png"])
    (folder / "dog" / "bad.png").write_bytes(b"no image")
    encode(options(folder, model, augment="flip"), tmp_path / form)
    found = describe(str(tmp_path / form))
    print_ = json.loads((model / "config.json").read_text())["fingerprint"]
    assert (found.kind, found.images, found.views, found.grid) == ("tokens", 3, 2, ((4, 4),))
    assert (found.codebook_size, found.dtype, found.fingerprint) == (300, "uint16", print_)
    assert (found.classes, found.unlabelled, found.rejected) == ({"cat": 2, "dog": 1}, 0, 1)
    rows = dict(found.rows())
    assert rows["tokens"] == tmp_path / form
    assert rows["images"] == "3 in 2 views, 4x4 tokens of 300 codes"
    assert rows["preprocessing"].endswith("resize (bicubic) and centre crop to 8x8, also mirrored")
    assert rows["classes"] == "2: cat (2), dog (1)"
    assert rows["rejected"] == "1 inputs"
    assert found.listing() == [("cat", 2), ("dog", 1)]


def test_native_sizes_and_latents(tmp_path, model):
    encode(options("demo:4", model, size="native"), tmp_path / "t")
    encode(options("demo:4", model, latents="float16"), tmp_path / "l")
    assert describe(str(tmp_path / "t")).grid == ((32, 32),)
    latents = describe(str(tmp_path / "l"))
    assert (latents.kind, latents.width, latents.dtype, latents.codebook_size) == (
        "latents",
        4,
        "float16",
        None,
    )
    assert dict(latents.rows())["images"] == "4, 4x4 latents of width 4"


def test_a_bare_array_tells_little(tmp_path):
    np.save(tmp_path / "bare.npy", np.zeros((5, 4, 6), np.int64))
    found = describe(str(tmp_path / "bare.npy"))
    assert (found.images, found.grid, found.codebook_size, found.fingerprint) == (5, ((4, 6),), None, "")
    rows = dict(found.rows())
    assert rows["images"] == "5, 4x6 tokens of unknown codes"
    assert (rows["preprocessing"], rows["fingerprint"], rows["classes"]) == ("not told", "not told", "none")


def test_names_that_are_no_text_travel(tmp_path, model):
    folder = pictures(tmp_path / "photos", ["caf\udce9/1.png", "\N{CAT FACE}/a\nb.png"])
    encode(options(folder, model), tmp_path / "t")
    assert describe(str(tmp_path / "t")).listing() == [("caf\\udce9", 1), ("\N{CAT FACE}", 1)]


def test_a_bare_array_of_rows_has_as_many_tokens_an_image(tmp_path):
    np.save(tmp_path / "t.npy", np.zeros((3, 256), np.int64))
    rows = dict(describe(str(tmp_path / "t.npy")).rows())
    assert rows["images"] == "3, 256 tokens of unknown codes"


def test_captions_that_were_kept_are_counted(tmp_path, model, monkeypatch):
    monkeypatch.setitem(PARTS["sources"], "solid", "tests.jobs.test_encode_kept:Captioned")
    for form in ("t.npy", "t"):
        encode(options("solid:6", model, keep=("caption", "n")), tmp_path / form)
        found = describe(str(tmp_path / form))
        assert found.extras == {"caption": 3, "n": 6}
        assert dict(found.rows())["kept caption"] == "of 3 images"


def test_what_is_not_finished_or_not_there(tmp_path, model):
    encode(options("demo:4", model), tmp_path / "t")
    (tmp_path / "t" / "index.json").unlink()
    with pytest.raises(VqcliError, match="is not finished"):
        describe(str(tmp_path / "t"))
    with pytest.raises(VqcliError, match="does not exist"):
        describe(str(Path(tmp_path, "away.npy")))
