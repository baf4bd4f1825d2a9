"""Evaluation of a generator's samples: which images they are, and that no interruption changes them."""

import numpy as np
import pytest
import torch

from tests.jobs.encoded import pictures
from tests.jobs.evaluations import Stopper, options
from tests.models import make_generator
from vqcli.errors import VqcliError
from vqcli.jobs.evaluation import work
from vqcli.jobs.evaluation.evaluate import evaluate
from vqcli.jobs.evaluation.target import open_target
from vqcli.jobs.evaluation.work import draw_pictures
from vqcli.jobs.generate import generate
from vqcli.jobs.sampler import GenerateOptions
from vqcli.metrics.protocols import PROTOCOLS
from vqcli.pixels import to_uint8
from vqcli.types import silent

pytestmark = pytest.mark.usefixtures("small_evaluations")
NAMES = ("fid", "inception_score", "precision_recall")


def test_samples_are_the_images_that_generate_makes(tmp_path, generator):
    found = evaluate(options(generator, "demo:9", NAMES, samples=8, protocol="clean-fid", size=None))
    assert (found.kind, found.counts) == ("generator", {"generate": 8, "reference": 9})
    pictures = draw_pictures(8, 4, "random", 0)
    for label in range(4):
        some = [picture for picture in pictures if picture.label == label]
        if some:
            asked = GenerateOptions([str(label)], str(generator), count=len(some), batch_size=4, device="cpu")
            generate(asked, tmp_path / "samples")
    assert len(list((tmp_path / "samples").glob("*.png"))) == 8
    same = evaluate(
        options(tmp_path / "samples", "demo:9", ("fid", "precision_recall"), protocol="clean-fid")
    )
    assert same.results["fid"] == pytest.approx(found.results["fid"], rel=1e-5)
    assert same.results["precision"] == found.results["precision"]


@pytest.mark.parametrize(("name", "rounding"), [("llamagen", "truncate_128"), ("vqgan-lc", "nearest")])
def test_samples_are_rounded_as_their_authors_write_them(name, rounding, generator, monkeypatch):
    monkeypatch.setattr(work, "jpeg", lambda images: images)
    asked = options(generator, None, samples=4, protocol=name)
    (stretch,) = open_target(asked, PROTOCOLS[name], torch.device("cpu"), 0, silent).stretches
    (seen,) = stretch.batches(np.arange(4))
    ((_, tokens),) = stretch.sampler.batches(stretch.pictures)
    torch.testing.assert_close(seen.sets[0][2], to_uint8(stretch.sampler.decode(tokens), rounding))


def test_an_interruption_changes_no_sample(generator):
    asked = options(generator, "demo:9", NAMES, samples=11)
    whole = evaluate(asked)
    with pytest.raises(KeyboardInterrupt):
        evaluate(asked, progress=Stopper(9))
    again = Stopper(100)
    assert evaluate(asked, progress=again).results == pytest.approx(whole.results, rel=1e-9)
    assert again.begun[0] == ("generate", 11, 8)


def test_sampling_and_seed_count(generator):
    found = {}
    for name, other in (
        ("plain", {}),
        ("seed", {"seed": 1}),
        ("sampling", {"sampling": {"temperature": 0.5}}),
    ):
        found[name] = evaluate(options(generator, "demo:9", ("fid",), samples=8, **other)).results["fid"]
        told = evaluate(options(generator, "demo:9", ("fid",), samples=8, **other))
    assert len(set(found.values())) == 3
    assert told.plan["stretches"]["generate"]["temperature"] == 0.5
    assert "temperature 0.5" in told.preparation
    with pytest.raises(VqcliError, match="no warmth"):
        evaluate(options(generator, "demo:9", ("fid",), samples=8, sampling={"warmth": 2}))


def test_classes_are_balanced_or_drawn():
    balanced = draw_pictures(50, 10, "balanced", 0)
    assert all(sum(picture.label == label for picture in balanced) == 5 for label in range(10))
    drawn = draw_pictures(5000, 10, "random", 0)
    counts = np.bincount([picture.label for picture in drawn], minlength=10)
    assert 400 < counts.min() < counts.max() < 600
    assert len(set(drawn)) == 5000
    assert drawn == draw_pictures(5000, 10, "random", 0)
    assert drawn != draw_pictures(5000, 10, "random", 1)


@pytest.mark.parametrize(
    ("ours", "folders", "told"),
    [
        (["ant", "bee", "cat", "dog"], ["dog", "cat", "bee", "ant"], ""),
        (["ant", "bee", "cat", "dog"], ["bee", "cat", "emu"], "4 of the generator, 3 of {}, 2 in common"),
        (["ant", "bee", "cat", "dog"], ["0", "1", "2", "3"], "4 of the generator, 4 of {}, 0 in common"),
        (
            ["n01440764", "n01443537", "n01484850", "n01491361"],
            ["tench", "goldfish"],
            "4 of the generator, 2",
        ),
        ([], ["bee", "cat"], ""),
        (["ant", "bee", "cat", "dog"], [""], ""),
    ],
)
def test_other_classes_than_those_of_the_images_are_told(tmp_path, tokenizer, ours, folders, told):
    """Both lists by name, whatever their order; nothing is said where one has no names."""
    model = make_generator(tmp_path / "generator", tokenizer, names=ours)
    for i, folder in enumerate(folders):
        pictures(tmp_path / "images" / folder, [f"{i}.png", f"{i + 10}.png"])
    found = evaluate(options(model, tmp_path / "images", ("fid",), samples=4))
    wanted = told.format(tmp_path / "images")
    assert found.classes.startswith(wanted)
    assert bool(found.classes) == bool(told)
    assert [text for name, text in found.rows() if name == "classes"] == (
        [f"{found.classes}: the numbers compare different classes"] if told else []
    )
