"""``vqcli train`` as typed: flags, results and exit codes. Signals: tests/training/test_resume.py."""

import json

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from tests.training.tiny import write_recipe
from vqcli.cli.app import app
from vqcli.yaml_text import read_yaml


def vqcli(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments), "--device", "cpu"])


def settings(*pairs):
    return [x for pair in pairs for x in ("--set", pair)]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(10):
        Image.new("RGB", (8, 8), (20 * i, 90, 255 - 20 * i)).save(folder / f"{i}.png")
    return folder


SMALL = settings("training.steps=2", "training.batch_size=4", "data.holdout=0.1")


def test_result_for_people_scripts_and_json(tmp_path):
    recipe = write_recipe(tmp_path)
    done = vqcli(recipe, "-o", tmp_path / "a", *SMALL)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{tmp_path}/a/model  2 steps in")
    assert "utilization" in done.stdout
    assert f"Next: vqcli encode IMAGES -o tokens.npy -m {tmp_path}/a" in done.stdout
    assert "train: 2/2 steps" in done.stderr
    assert vqcli(recipe, "-o", tmp_path / "b", "-q", *SMALL).stdout == f"{tmp_path}/b/model\n"
    value = json.loads(vqcli(recipe, "-o", tmp_path / "c", "--json", *SMALL).stdout)
    assert (value["steps"], value["rejected"]) == (2, 0)
    assert 0 < value["measured"]["utilization"] <= 1


def test_rejected_images_exit_3(tmp_path, images):
    (images / "bad.png").write_bytes(b"no image")
    done = vqcli(write_recipe(tmp_path), "-o", tmp_path / "run", "--data", images, *SMALL,
                 *settings("training.steps=6", "data.holdout=0"))  # fmt: skip
    assert done.exit_code == 3, done.output
    assert "1 images were rejected" in done.stdout
    assert "rejected bad.png: not-an-image" in done.stderr


def test_flags_stand_for_keys_of_the_recipe(tmp_path, images):
    flags = ("--data", images, "--seed", "7", "--precision", "bf16", "--num-workers", "1")
    done = vqcli(write_recipe(tmp_path), "-o", tmp_path / "run", *flags, *SMALL)
    assert done.exit_code == 0, done.output
    stored = read_yaml(tmp_path / "run" / "recipe.yaml")
    assert (stored["seed"], stored["training"]["precision"]) == (7, "bf16")
    assert (stored["data"]["source"], stored["data"]["num_workers"]) == (str(images), 1)


@pytest.mark.parametrize("name", ["*.png", "[a]: b #c", "123", "~", "ünï cödé 🙂", "a, {b}"])
def test_data_is_a_path_whatever_yaml_thinks(tmp_path, images, monkeypatch, name):
    monkeypatch.chdir(images)
    if "*" not in name:
        images.rename(tmp_path / name)
        monkeypatch.chdir(tmp_path)
    done = vqcli(write_recipe(tmp_path / "r"), "-o", tmp_path / "run", "--data", name, *SMALL)
    assert done.exit_code == 0, done.output
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["data"]["source"] == name


def test_errors_are_a_sentence_and_a_hint(tmp_path):
    recipe = write_recipe(tmp_path)
    wrong = vqcli(recipe, "-o", tmp_path / "run", *settings("optimizer.lrr=1"), "--data", "/nowhere")
    assert wrong.exit_code == 1
    assert wrong.stderr == f"error: {recipe}: unknown key 'optimizer.lrr'\nhint: did you mean 'lr'?\n"
    diverged = vqcli(
        recipe, "-o", tmp_path / "run", *SMALL, *settings("training.steps=60", "optimizer.lr=1e30"), "--json"
    )
    assert diverged.exit_code == 1
    assert json.loads(diverged.stdout)["reason"] == "diverged"
    unknown = vqcli("dmeo", "-o", tmp_path / "other")
    assert unknown.stderr == "error: no recipe is called 'dmeo'\nhint: did you mean 'demo'?\n"


def test_resume_names_the_run_in_two_ways(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert vqcli(write_recipe(tmp_path), "-o", "runs/x", *SMALL).exit_code == 0
    assert (
        "runs/x is a run, not a recipe\nhint: continue it: vqcli train --resume runs/x"
        in vqcli("runs/x").stderr
    )
    for again in (["x"], ["-o", "runs/x"], ["runs/x"]):
        done = vqcli("--resume", *again, "-q")
        assert (done.exit_code, done.stdout) == (0, "runs/x/model\n"), done.output
    refused = vqcli("--resume", "x", "--seed", "3", "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["reason"]) == (1, "changed")
    nothing = vqcli("--resume")
    assert nothing.exit_code == 1
    assert "there is no unfinished run under runs/" in nothing.stderr


def test_images_alone_are_enough(tmp_path, monkeypatch):
    """No recipe, plain flags; the resolved numbers are the run's own, told and stored."""
    monkeypatch.chdir(tmp_path)
    for i in range(44):
        path = tmp_path / "photos" / f"class {i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 36), 90).convert("RGB").save(path)
    done = vqcli("--data", "photos/", "--steps", "2", "-b", "4", "--lr", "2e-3", "--num-workers", "0")
    assert done.exit_code == 0, done.output
    stored = read_yaml(tmp_path / "runs" / "photos" / "recipe.yaml")
    assert (stored["data"]["size"], stored["data"]["source"]) == (32, "photos/")
    book = stored["tokenizer"]["codebook"]
    assert (book["name"], book["size"]) == ("bridged", 256)
    assert (stored["training"]["steps"], stored["training"]["batch_size"]) == (2, 4)
    assert (stored["optimizer"]["lr"], stored["optimizer"]["lr_batch"]) == (0.002, None)
    lines = done.stderr.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["recipe", "data", "tokens", "model", "folder"]
    assert "photos: 2 steps of 4 images" in lines[0]
    assert "photos/: 44 images of 2 classes found; 33 to train on, 11 held out" in lines[1]
    assert "8x8 = 64 an image of 32x32 pixels, 256 codes (chosen from the images" in lines[2]
    assert "parameters; cpu (" in lines[3]
    assert lines[4].split() == ["folder", "runs/photos"]
    step = next(line for line in lines if line.startswith("step 2/2"))
    assert [word for word in ("loss", "l2", "utilization", "images/s") if word in step] == [
        "loss", "l2", "utilization", "images/s",
    ]  # fmt: skip
    counted = "over 1,216 tokens of 11 held-out and 8 training images (uniform use: 99.14%)"
    assert counted in done.stdout
    record = json.loads((tmp_path / "runs/photos/model/usage.json").read_text())
    assert (record["images"], record["tokens"]) == ("11 held-out and 8 training images of photos/", 1216)
    assert "look at runs/photos/samples/step-00000002.png" in done.stdout
    again = vqcli("--resume", "photos")
    assert "runs/photos is finished: 2 steps" in again.stderr
    assert again.stdout.splitlines()[1:] == done.stdout.splitlines()[1:]
    assert "measure" not in again.stderr
    more = vqcli("--resume", "photos", "--steps", "3")
    assert "resuming runs/photos at step 2 of 3 after " in more.stderr
    assert "3 steps in" in more.stdout
    assert "over 2 sittings" in more.stdout


def test_what_is_no_recipe_is_told_what_to_type(images, monkeypatch):
    monkeypatch.chdir(images.parent)
    assert "hint: vqcli train --data images" in vqcli("images").stderr
    assert vqcli("dmeo").stderr.endswith("did you mean 'demo'?\n")


def test_images_that_are_not_there_are_told_before_a_run_that_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "photos").mkdir(parents=True)
    (tmp_path / "runs" / "photos" / "recipe.yaml").touch()
    done = vqcli("--data", "photoz/")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: data.source: photoz/ does not exist")


def test_codes_of_a_codebook_that_has_no_size():
    for recipe, told in (
        ("fsq-cifar10", "its codes follow from tokenizer.codebook.levels"),
        ("open-magvit2-cifar10", "its codes follow from tokenizer.codebook.bits"),
        ("gpt-cifar10", "a generator has the codes of its tokenizer"),
    ):
        done = vqcli(recipe, "--codes", 64)
        assert (done.exit_code, told in done.stderr) == (1, True), done.output


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--learning-rate", "1e-4"), "it is called --lr"),
        (("--image_size", "64"), "it is called --size"),
        (("--epochs", "10"), "write --set 'training.steps=10 epochs'"),
        (("--no-labels",), "write --set data.labels=false"),
        (("--keep-profile", "--steps", "5"), "write --set data.keep_profile=true"),
        (("--embed-dim=8",), "write --set tokenizer.codebook.width=8"),
        (("--keep", "5"), "for a key of the recipe write --set training.keep=5"),
        (("fvq-16k", "--disc-start=9"), "for a key of the recipe write --set adversarial.disc_start=9"),
        (("--augmnt",), "for a key of the recipe write --set data.augment=crop-flip"),
        (("--batchsize", "4"), "did you mean --batch-size?"),
        (("--xyzzy",), "any key of the recipe (vqcli new photos) is set by --set key=value"),
    ],
)
def test_unknown_flags_show_what_to_write(flags, told):
    done = vqcli(*flags)
    assert done.exit_code == 2
    assert told in done.stderr


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--steps", "0"), "neither a number of steps"),
        (("--lr", "-1"), "no learning rate"),
        (("--size", "native"), "one size for all images"),
        (("--codes", "0"), "must be at least 1, not"),
    ],
)
def test_values_that_cannot_be(flags, told):
    done = vqcli(*flags)
    assert (done.exit_code, told in done.stderr) == (2, True), done.stderr


def test_tokens_are_no_photographs(tmp_path):
    import numpy as np

    np.save(tmp_path / "t.npy", np.zeros((4, 2, 2), np.uint8))
    done = vqcli("--data", tmp_path / "t.npy")
    assert "holds tokens, which a generator learns: name its recipe" in done.stderr


def test_what_was_left_out_is_told_before_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(12):
        Image.effect_noise((40, 36), 90).convert("RGB").save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "photos" / "clip.mp4").touch()
    done = vqcli("--data", "photos/", "--steps", "1", "-b", "4", "--num-workers", "0")
    assert done.exit_code == 0, done.output
    lines = done.stderr.splitlines()
    assert "photos/: 12 images found" in lines[1]
    assert lines[5] == "photos/: 1 file was left out: 1 .mp4"
