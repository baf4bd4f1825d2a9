"""Captions and other fields travel with the tokens; docs/tokens.md says how they lie, and its code is run."""

import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import vqcli
from tests.data.test_sources import make_tar
from tests.data.toys import SolidSource
from tests.images import picture, save
from tests.jobs.encoded import options
from tests.models import make_model
from tests.seals import put
from vqcli.data.images.base import Told
from vqcli.data.tokens.store import read_shard
from vqcli.errors import VqcliError
from vqcli.jobs.encode import encode
from vqcli.parts import PARTS

DOCS = Path(__file__).parents[2] / "docs" / "tokens.md"


class Captioned(SolidSource):
    """Solid images, of which every second one has a caption."""

    told = Told({".mp4": 2}, ("captions are made up",))

    @classmethod
    def open(cls, text, reading):
        source = super().open(text, reading)
        source.reading = reading
        return source

    def __getitem__(self, i):
        return replace(super().__getitem__(i), extras=self.extras(i))

    def extras(self, i):
        fields = {"caption": f"Bild {i}: grün"} if i % 2 else {}
        return {name: value for name, value in (fields | {"n": i}).items() if name in self.reading.keep}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def captioned(monkeypatch):
    monkeypatch.setitem(PARTS["sources"], "solid", f"{__name__}:Captioned")


@pytest.mark.parametrize("out", ["t.npy", "t"])
def test_fields_that_are_kept(captioned, model, tmp_path, out):
    result = encode(options("solid:6", model, keep=("caption", "n")), tmp_path / out)
    assert result.extras == {"caption": 3, "n": 6}
    found = vqcli.read_tokens(tmp_path / out)
    assert found.extras[:2] == [{"n": 0}, {"caption": "Bild 1: grün", "n": 1}]
    assert len(found.extras) == 6
    beside = tmp_path / ("t.json" if out == "t.npy" else "t/index.json")
    assert json.loads(beside.read_text())["told"]["left_out"] == {".mp4": 2}


def test_every_view_of_an_image_has_its_fields(captioned, model, tmp_path):
    asked = options("solid:3", model, keep=("caption",), augment="flip")
    assert encode(asked, tmp_path / "t.npy").extras == {"caption": 1}
    assert [len(fields) for fields in vqcli.read_tokens(tmp_path / "t.npy").extras] == [0, 0, 1, 1, 0, 0]


def test_nothing_is_kept_unasked(captioned, model, tmp_path):
    assert encode(options("solid:3", model), tmp_path / "t.npy").extras == {}
    side = json.loads((tmp_path / "t.json").read_text())
    assert not {"keep", "extras"} & side.keys()
    assert vqcli.read_tokens(tmp_path / "t.npy").extras == [{}] * 3


def test_latents_keep_them_too(captioned, model, tmp_path):
    encode(options("solid:3", model, keep=("n",), latents="float32"), tmp_path / "z")
    lines, _ = read_shard(tmp_path / "z", 0, "latents")
    assert [line["extras"] for line in lines] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_extras_of_another_length_are_refused(captioned, model, tmp_path):
    encode(options("solid:3", model, keep=("n",)), tmp_path / "t.npy")
    side = json.loads((tmp_path / "t.json").read_text())
    put(tmp_path / "t.json", side | {"extras": side["extras"][1:]})
    with pytest.raises(VqcliError, match="does not describe the 3 images"):
        vqcli.read_tokens(tmp_path / "t.npy")


@pytest.fixture
def native(model, tmp_path):
    """Tokens of images of two sizes."""
    (tmp_path / "in").mkdir()
    for i, height in enumerate([8, 16, 8]):
        (tmp_path / "in" / f"{i}.png").write_bytes(save(Image.fromarray(picture(height, 8)), "PNG"))
    encode(options(tmp_path / "in", model, size="native"), tmp_path / "tokens")
    return tmp_path / "tokens"


def test_rows_of_different_lengths_say_where_they_begin(native, model):
    shard = load_file(native / "tokens-00000.safetensors")
    found = vqcli.read_tokens(native)
    assert shard["offsets"].tolist() == found.offsets.tolist() == [0, 16, 48, 64]
    assert len(shard["tokens"]) == 64
    assert [found[i].shape for i in range(3)] == [(4, 4), (8, 4), (4, 4)]
    assert np.array_equal(np.concatenate([found[i].reshape(-1) for i in range(-3, 0)]), found.ids)
    assert len(found) == len(found.dataset()) == 3
    assert found.dataset()[1][0].shape == (32,)
    assert vqcli.usage(found).usage.tokens == 64
    with pytest.raises(ValueError, match="one by one"):
        vqcli.load(model, "cpu").decode(found)


def test_the_page_s_code_reads_what_is_written(native, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    encode(options("demo:3", model), tmp_path / "tokens.npy")
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [
        f"demo/train/{i:06d} {name} (4, 4)" for i, name in enumerate(("disc", "ring", "square"))
    ]
    assert said[3] == "0.png (4, 4)"
    assert len(said) == 6


def test_what_a_shard_leaves_out_stands_with_its_tokens(model, tmp_path):
    make_tar(tmp_path / "a.tar", 3)
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        tar.addfile(tarfile.TarInfo("._0.png"))
        tar.addfile(tarfile.TarInfo("0.seg"))
    encode(options(tmp_path / "a.tar", model), tmp_path / "t.npy")
    beside = json.loads((tmp_path / "t.json").read_text())
    assert beside["told"]["left_out"] == {"hidden": 1, ".seg": 1}
    assert beside["keys"] == ["a/0000.png", "a/0001.png", "a/0002.png"]
