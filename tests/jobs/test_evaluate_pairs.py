"""Two sets of images compared one by one: who is whose partner, the numbers, and what is left out."""

import csv

import numpy as np
import pytest
from PIL import Image

from tests.jobs.evaluations import Stopper, options
from vqcli.data.images.base import Source
from vqcli.errors import BadImage, VqcliError
from vqcli.jobs.evaluation.evaluate import evaluate
from vqcli.jobs.evaluation.pairs import match

pytestmark = pytest.mark.usefixtures("small_evaluations")
BOTH = ("psnr", "ssim")


def noise(seed, shape=(16, 20)):
    return np.random.default_rng(seed).integers(256, size=(*shape, 3), dtype=np.uint8)


def write(folder, **images):
    """PNGs by name; ``a__b_png`` stands for ``a/b.png``."""
    for name, pixels in images.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def compare(a, b, metrics=BOTH, out=None, **other):
    return evaluate(options(a, b, metrics, paired=True, **other), out)


def psnr(a, b):
    return -10 * np.log10(np.mean((a / 255.0 - b / 255.0) ** 2))


class Keys(Source):
    """Images of which only the names are asked for."""

    def __init__(self, keys):
        self.keys, self.classes = keys, []

    def __len__(self):
        return len(self.keys)

    def key(self, i):
        return self.keys[i]

    def label(self, i):
        return None

    def __getitem__(self, i):
        raise NotImplementedError


def matched(own, theirs):
    found = match(Keys(own), Keys(theirs))
    return [(own[i], theirs[j]) for i, j in found.pairs.tolist()], found


def test_numbers_are_those_of_each_pair(tmp_path):
    one, two = [noise(i) for i in range(3)], [noise(10 + i) for i in range(3)]
    write(tmp_path / "a", x__1_png=one[0], x__2_png=one[1], y__1_png=one[2])
    write(tmp_path / "b", x__1_bmp=two[0], x__2_tiff=two[1], y__1_png=two[2])
    found = compare(tmp_path / "a", tmp_path / "b", out=tmp_path / "out")
    expected = [psnr(*pair) for pair in zip(one, two)]
    assert found.results["psnr"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert found.counts == {"compare": 3}
    assert found.results.keys() == {"psnr", "ssim"}
    with open(tmp_path / "out" / "images.csv") as file:
        lines = list(csv.DictReader(file))
    assert [line["key"] for line in lines] == ["x/1.png", "x/2.png", "y/1.png"]
    assert [float(line["psnr"]) for line in lines] == pytest.approx(expected, abs=1e-3)
    assert [worst["key"] for worst in found.worst] == [lines[i]["key"] for i in np.argsort(expected)]
    assert found.worst[0]["psnr"] == pytest.approx(min(expected), abs=1e-6)
    with Image.open(tmp_path / "out" / "worst.png") as sheet:
        assert sheet.size[0] > 3 * 20


def test_equal_images_are_equal_and_lpips_is_measured_too(tmp_path):
    folder = write(tmp_path / "a", p_png=noise(0, (40, 40)), q_png=noise(1, (40, 40)))
    found = compare(folder, folder, ())
    assert found.results.keys() == {"psnr", "ssim", "lpips"}
    assert found.results["ssim"] == pytest.approx(1)
    assert found.results["lpips"] == pytest.approx(0, abs=1e-6)
    sets = compare(folder, folder, ("psnr", "fid"))
    assert sets.results["fid"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("own", "theirs", "pairs"),
    [
        (["a/1.png", "b/1.png"], ["b/1.jpg", "a/1.webp"], [("a/1.png", "a/1.webp"), ("b/1.png", "b/1.jpg")]),
        (["v1.2.png"], ["v1.2.jpg", "v1.png"], [("v1.2.png", "v1.2.jpg")]),  # a name with a dot is whole
        (["A/X.PNG"], ["a/x.jpg"], [("A/X.PNG", "a/x.jpg")]),
        (["a%3Ab.png"], ["a:b.jpg", "c.jpg"], [("a%3Ab.png", "a:b.jpg")]),  # as vqcli decode writes it
        (["1.png", "2.png"], ["x/2.jpg", "y/1.jpg"], [("1.png", "y/1.jpg"), ("2.png", "x/2.jpg")]),
        (["a.jpg", "a.png", "b.png"], ["a.png", "a.jpg", "b.jpg"],
         [("a.jpg", "a.jpg"), ("a.png", "a.png"), ("b.png", "b.jpg")]),
    ],
)  # fmt: skip
def test_partners_have_the_same_path_or_name(own, theirs, pairs):
    assert matched(own, theirs)[0] == pairs


def test_where_two_could_be_meant_none_is():
    pairs, found = matched(["a.png", "a.png.png", "b.png"], ["a.jpg", "a.png", "b.jpg"])
    assert pairs == [("b.png", "b.jpg")]
    assert found.alone == (["a.png", "a.png.png"], ["a.jpg", "a.png"])
    # a name alone counts only where no path does: classes must not be mixed up
    pairs, found = matched(["cat/1.png", "cat/2.png"], ["cat/1.jpg", "dog/2.jpg"])
    assert pairs == [("cat/1.png", "cat/1.jpg")]
    assert (found.alone, found.how) == ((["cat/2.png"], ["dog/2.jpg"]), "pairs of the same path")
    assert matched(["1.png", "2.png"], ["x/1.jpg"])[1].how == "pairs of the same name, in any folder"
    assert matched(["1.png"], ["x/other.jpg"])[1].how == "the one image of each"
    with pytest.raises(VqcliError, match="no image shares a name"):
        matched(["1.png"], ["x/1.jpg", "y/1.jpg"])


def test_images_without_a_partner_are_counted(tmp_path):
    a = write(tmp_path / "a", p_png=noise(0), q_png=noise(1))
    b = write(tmp_path / "b", p_png=noise(2), r_png=noise(3), s_png=noise(4))
    found = compare(a, b)
    assert found.counts == {"compare": 1}
    assert found.unmatched == {str(a): ["q.png"], f"--images {b}": ["r.png", "s.png"]}
    rows = [value for name, value in found.rows() if name == "no partner"]
    assert rows == [f"1 of {a}", f"2 of --images {b}"]
    with pytest.raises(VqcliError, match=r"q\.png of .* has no partner"):
        compare(a, b, strict=True)
    with pytest.raises(VqcliError, match="no image shares a name"):
        compare(a, write(tmp_path / "c", z_png=noise(0)))
    assert compare(a / "p.png", b / "r.png").counts == {"compare": 1}  # named one by one


def test_sizes_must_agree_or_be_brought_to_one(tmp_path):
    a = write(tmp_path / "a", p_png=noise(0, (16, 16)))
    b = write(tmp_path / "b", p_png=noise(1, (32, 16)))
    with pytest.raises(VqcliError, match=r"p\.png has 16x16 pixels, its partner p\.png 32x16") as refused:
        compare(a, b)
    assert refused.value.reason == "size"
    assert "--eval-size" in refused.value.hint
    found = compare(a, b, eval_size=(24, 24))
    assert "measured at 24x24" in found.preparation
    assert found.counts == {"compare": 1}


def test_bad_images_are_rejected_a_pair_at_a_time(tmp_path):
    a = write(tmp_path / "a", p_png=noise(0), q_png=noise(1), r_png=noise(2), s_png=noise(3))
    b = write(tmp_path / "b", p_png=noise(4), q_png=noise(5), r_png=noise(6), s_png=noise(7))
    for path in (a / "p.png", b / "q.png", a / "r.png", b / "r.png"):
        path.write_bytes(b"no image")
    found = compare(a, b)
    assert found.rejected == [
        {"key": f"{name}.png", "reason": "not-an-image", "of": "compare"} for name in "pqr"
    ]
    assert found.results["psnr"] == pytest.approx(psnr(noise(3), noise(7)), abs=1e-6)
    (a / "s.png").write_bytes(b"")
    with pytest.raises(VqcliError, match="none of 4 images"):
        compare(a, b)
    with pytest.raises(BadImage):
        compare(a, b, strict=True)


def test_what_cannot_be_paired(tmp_path):
    a = write(tmp_path / "a", p_png=noise(0))
    with pytest.raises(VqcliError, match=r"--paired compares .* with other images"):
        compare(a, None)
    with pytest.raises(VqcliError, match="usage cannot be measured"):
        compare(a, a, ("usage",))
    with pytest.raises(VqcliError, match=r"psnr cannot be measured: it looks at") as refused:
        evaluate(options(a, a, ("psnr",)))
    assert "--paired" in refused.value.hint


def test_a_killed_comparison_continues(tmp_path):
    names = [f"{i:02d}_png" for i in range(11)]
    a = write(tmp_path / "a", **{name: noise(i) for i, name in enumerate(names)})
    b = write(tmp_path / "b", **{name: noise(20 + i) for i, name in enumerate(names)})
    whole = compare(a, b, out=tmp_path / "whole")
    stopper = Stopper(9)
    with pytest.raises(KeyboardInterrupt):
        evaluate(options(a, b, BOTH, paired=True), tmp_path / "out", progress=stopper)
    rest = compare(a, b, out=tmp_path / "out")
    assert rest.results == whole.results
    lines = [(tmp_path / name / "images.csv").read_bytes() for name in ("whole", "out")]
    assert lines[0] == lines[1]
