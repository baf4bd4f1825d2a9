import shutil

import pytest

from tests.models import make_model
from vqcli import files
from vqcli.checkpoint.contents import replaceable


@pytest.fixture
def folder(tmp_path):
    return make_model(tmp_path / "m")


def test_a_model_may_be_replaced_also_where_it_is_damaged(folder):
    assert replaceable(folder)
    (folder / "config.json").write_text("{")
    assert not replaceable(folder)  # nothing tells that it ever was one
    files.write_json(folder / "import.json", {})
    assert replaceable(folder)
    shutil.copytree(folder, folder / "tokenizer")
    assert replaceable(folder)
    assert not replaceable(folder / "gone")


@pytest.mark.parametrize(
    "name", ["mine.txt", "vae.safetensors", "a/b.png", "tokenizer/notes.md", ".git/HEAD"]
)
def test_a_folder_that_holds_more_may_not(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("years of work")
    assert not replaceable(folder)


def test_a_folder_of_other_programs_may_not(folder):
    files.write_json(folder / "config.json", {"_class_name": "AutoencoderKL"})
    assert not replaceable(folder)
