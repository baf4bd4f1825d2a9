import sys
from pathlib import Path

import pytest
import torch

from vqcli import files
from vqcli.data.images.demo import DemoSource
from vqcli.errors import VqcliError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import judge

FEW = {"images": 200, "epochs": 1, "lr": 3e-3, "seed": 0, "tested": 50}


def write_samples(folder: Path, classes: list[str], wanted: list[int]) -> None:
    """A folder as ``vqcli generate`` leaves it, with a disc, a ring and a square."""
    for i in range(3):
        files.write_image(folder / f"{i}.png", DemoSource(3, (32, 32))[i].image)
    listed = [{"file": f"{i}.png", "class": c, "name": classes[c]} for i, c in enumerate(wanted)]
    files.write_json(folder / "samples.json", {"images": listed})


def test_the_classifier_is_kept_and_made_anew_for_other_settings(tmp_path, capsys):
    path = tmp_path / "judge.safetensors"
    made, about = judge.load(path, FEW)
    assert "training" in capsys.readouterr().err
    kept, same = judge.load(path, FEW)
    assert not capsys.readouterr().err
    assert about == same
    assert about["test_accuracy"] == judge.tally(kept, *judge.drawn("demo:50", "test"))["share"]
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(made(images), kept(images))
    judge.load(path, FEW | {"images": 100})
    assert "training" in capsys.readouterr().err


def test_images_of_a_folder_are_told_by_the_names_of_their_classes(tmp_path):
    write_samples(tmp_path, ["square", "ring", "disc"], [2, 1, 0])
    images, classes = judge.generated(tmp_path)
    assert images.shape == (3, 3, 32, 32)
    assert classes.tolist() == [0, 1, 2]


def test_a_class_that_is_not_drawn_is_refused(tmp_path):
    write_samples(tmp_path, ["disc", "cat"], [0, 1, 0])
    with pytest.raises(VqcliError, match="images of cat"):
        judge.generated(tmp_path)


def test_a_class_is_counted_by_what_its_images_are_taken_for():
    def says_ring(images):
        return torch.eye(11)[1].expand(len(images), 11)

    images, classes = torch.zeros(3, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 0, 1])
    result = judge.tally(says_ring, images, classes)
    assert (result["recognised"], result["n"]) == (1, 3)
    disc, ring, square = result["classes"][:3]
    assert disc == {"class": "disc", "recognised": 0, "n": 2, "mistaken": {"for": "ring", "times": 2}}
    assert (ring["recognised"], ring["mistaken"], square["n"]) == (1, None, 0)


def test_a_patchwork_keeps_or_replaces_whole_patches():
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, 32, 32)
    mixed = judge.patchwork(images, torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.Generator().manual_seed(0))
    assert torch.equal(mixed[:2], images[:2])
    patches = mixed[2].unfold(1, 4, 4).unfold(2, 4, 4).reshape(3, 64, 16)
    assert torch.equal(patches, patches[..., :1].expand_as(patches))
    assert sorted(patches[0, :, 0].unique().tolist()) == [0, 1, 2, 3]
