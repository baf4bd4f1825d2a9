"""Sizes that a recipe leaves open follow from the images that are there."""

import pytest
from PIL import Image

from vqcli.errors import VqcliError
from vqcli.training.auto import UNKNOWN, fitting_codes, open_sizes, settled
from vqcli.training.recipe import read_recipe, recipe_keys


def photos(folder, count=8, size=(90, 70), bad=False):
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", size, (i, 90, 9)).save(folder / f"{i}.png")
    if bad:
        (folder / "bad.png").write_bytes(b"no image")
    return folder


def sizes(*settings, reference="photos"):
    recipe = read_recipe(reference, settings)
    return recipe.data.size, recipe.tokenizer.codebook.size


@pytest.mark.parametrize(
    ("pixels", "size"),
    [((20, 300), 32), ((63, 64), 32), ((64, 70), 64), ((500, 375), 64)],
)
def test_images_keep_their_size_within_what_a_cpu_trains(tmp_path, pixels, size):
    assert sizes(f"data.source={photos(tmp_path / 'p', size=pixels)}")[0] == size


def test_the_most_usual_size_counts_and_bad_images_do_not(tmp_path):
    folder = photos(tmp_path / "p", bad=True)
    Image.new("RGB", (8, 8)).save(folder / "icon.png")
    assert sizes(f"data.source={folder}")[0] == 64


def test_codes_follow_from_the_tokens():
    assert [fitting_codes(n) for n in (0, 64 * 255, 64 * 512, 64 * 1023, 446_464, 10**9)] == [
        256, 256, 512, 512, 4096, 16_384,
    ]  # fmt: skip


def test_tokens_of_training_images_are_counted(tmp_path):
    folder = photos(tmp_path / "p", count=80, size=(64, 64))
    assert sizes(f"data.source={folder}") == (64, 256)  # 60 x 256 tokens
    assert sizes(f"data.source={folder}", "data.size=128") == (128, 512)  # 60 x 1,024
    deep = "tokenizer.quantizer={name: residual, depth: 4}"
    assert sizes(f"data.source={folder}", "data.size=128", deep) == (128, 2048)


def test_what_is_given_is_left_alone(tmp_path):
    source = f"data.source={photos(tmp_path / 'p')}"
    assert sizes(source, "data.size=[32, 64]", "tokenizer.codebook.size=32") == ((32, 64), 32)
    assert sizes(source, "tokenizer.codebook.size=32") == (64, 32)
    (tmp_path / "my.yaml").write_text("extends: photos\ndata: {size: 96}\n")
    mine = str(tmp_path / "my.yaml")
    assert sizes(source, reference=mine) == (96, 256)
    assert open_sizes(recipe_keys(mine)) == ["tokenizer.codebook.size"]
    assert sizes(source, "data.size=auto", reference="fvq-cifar10") == (64, 4096)


def test_without_images_sizes_are_stated_ones(tmp_path):
    assert sizes() == tuple(UNKNOWN.values())
    assert sizes(f"data.source={tmp_path / 'nothing'}") == tuple(UNKNOWN.values())


def test_names_on_stdin_are_not_read_for_it():
    raw = recipe_keys("photos", ["data.source='-'"])
    with pytest.raises(VqcliError, match="names on stdin are read once") as raised:
        settled(raw)
    assert "--size" in raised.value.hint
    assert sizes("data.source='-'", "data.size=32", "tokenizer.codebook.size=16") == (32, 16)
