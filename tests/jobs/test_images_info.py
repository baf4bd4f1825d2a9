"""What ``vqcli info`` tells of images: counts, formats, sizes, classes, splits, and what is left out."""

import numpy as np
import pytest
from PIL import Image

from tests.images import oriented, picture, save
from vqcli.errors import VqcliError
from vqcli.jobs import images_info
from vqcli.jobs.images_info import describe_images
from vqcli.jobs.info import describe


def write(folder, names, shape=(8, 12)):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {"jpg": "JPEG", "JPG": "JPEG", "png": "PNG", "webp": "WEBP"}[name.rpartition(".")[2]]
        path.write_bytes(save(Image.fromarray(picture(*shape)), kind))
    return folder


def told(found):
    return dict(found.rows())


def test_a_folder_of_classes(tmp_path):
    folder = write(tmp_path / "photos", ["cat/1.jpg", "cat/2.JPG", "dog/1.png", "dog/2.jpg", "dog/3.webp"])
    write(folder, ["cat/large.png"], (40, 20))
    (folder / "dog" / "bad.png").write_bytes(b"no image")
    found = describe_images(str(folder))
    assert (found.images, found.formats) == (7, {".jpg": 3, ".png": 3, ".webp": 1})
    assert (found.classes, found.unlabelled, found.splits) == ({"cat": 3, "dog": 4}, 0, {})
    sizes = found.sizes
    assert (sizes.smallest, sizes.median, sizes.largest, sizes.shapes) == ((8, 12), (8, 12), (40, 20), 2)
    assert (sizes.looked_at, sizes.unreadable) == (7, ["dog/bad.png"])
    rows = told(found)
    assert rows["images"] == f"7 of {folder}"
    assert rows["sizes"] == "8x12 to 40x20, median 8x12 (height x width)"
    assert rows["unreadable"] == "1 of 7: dog/bad.png"
    assert rows["classes"] == "2: cat (3), dog (4)"
    assert found.listing() == [("cat", 3), ("dog", 4)]


def test_splits_and_what_is_left_out(tmp_path):
    folder = write(tmp_path / "data", ["train/a/1.png", "train/b/2.png", "test/a/3.png"])
    (folder / "train" / "a" / "film.mp4").write_bytes(b"film")
    found = describe_images(str(folder))
    assert (found.images, found.splits) == (3, {"train": 2, "test": 1})
    assert told(found)["splits"] == "2 train, 1 test"
    for kind, count in found.left_out.items():  # as the source counts them
        assert f"{count:,} {kind}" in told(found)["left out"]


def test_sides_are_those_that_are_shown(tmp_path):
    """A photograph that lies on its side in the file stands upright."""
    (tmp_path / "a.jpg").write_bytes(oriented("JPEG", 6, quality=90))
    assert describe_images(str(tmp_path / "a.jpg")).sizes.median == (12, 20)


def test_of_many_images_some_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(images_info, "LOOKED_AT", 4)
    folder = write(tmp_path / "photos", [f"{i:02d}.png" for i in range(11)])
    found = describe_images(str(folder))
    assert (found.images, found.sizes.looked_at) == (11, 4)
    assert told(found)["sizes"] == "8x12 (height x width) (of 4 that were looked at)"


def test_drawn_ones_and_arrays(tmp_path):
    found = describe_images("demo:30")
    assert (found.formats, found.sizes.median) == ({"drawn": 30}, (64, 64))
    assert list(found.classes.items())[:2] == [("disc", 3), ("ring", 3)]
    assert found.splits == {"train": 30, "validation": 30, "test": 30}
    np.savez(tmp_path / "samples.npz", arr_0=np.zeros((5, 6, 7, 3), np.uint8))
    arrays = describe_images(str(tmp_path / "samples.npz"))
    assert (arrays.images, arrays.sizes.largest) == (5, (6, 7))
    assert told(arrays)["classes"] == "none"


def test_nothing_that_can_be_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    found = describe_images(str(tmp_path / "a.png"))
    assert found.sizes is None
    assert "sizes" not in told(found)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VqcliError, match="holds no images"):
        describe_images(str(tmp_path / "empty"))
    with pytest.raises(VqcliError, match="empty holds no model, no tokens and no images"):
        describe(str(tmp_path / "empty"))
