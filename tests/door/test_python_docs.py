"""The blocks of docs/python.md and of the README, run as they stand; training is cut short."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.models import make_classifier, make_generator, make_model

ROOT = Path(__file__).parents[2]
SHORT = ("training.steps=2", "training.batch_size=8", "training.validation_images=8", "data.num_workers=0")


def blocks(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with two runs and some photos, as the texts take them for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.jpg")
    names = ("disc", "ring", "square", "triangle", "star", "cross", "arrow", "moon", "heart", "leaf")
    model = make_model(tmp_path / "runs" / "demo" / "model", codes=1024)
    make_generator(tmp_path / "runs" / "gpt-demo" / "model", model, names=names, classes=10)
    make_classifier(tmp_path / "runs" / "classify-demo" / "model", model, names=names)
    for run in ("demo", "gpt-demo", "classify-demo"):
        (tmp_path / "runs" / run / "recipe.yaml").write_text("seed: 0\n")
    return tmp_path


@pytest.mark.parametrize("name", ["docs/python.md", "README.md"])
def test_blocks(name, place, capsys):
    found = blocks(name)
    assert found
    known = {}
    for block in found:
        code = block.replace('"training.steps=500"', ", ".join(map(repr, SHORT)))
        exec(compile(code, name, "exec"), known)
    assert capsys.readouterr().out


def test_the_table_names_what_there_is():
    import vqcli

    text = (ROOT / "docs/python.md").read_text()
    named = set(re.findall(r"vqcli\.(\w+)", text)) | set(re.findall(r"\| `(\w+Options)` \|", text))
    assert named <= set(vqcli.__all__)
    results = {"Classified", "GeneratedPictures", "ImageTokens", "Pictures", "TokenSet"}
    assert {name for name in vqcli.__all__ if name not in text} <= results | {"__version__"}
