"""What an evaluation says of its numbers: too few images, networks that are not the published ones."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.jobs.evaluations import options
from tests.jobs.test_evaluate_inputs import images
from tests.models import make_model
from tests.tiny_inception import TinyInception
from vqcli import files
from vqcli.jobs.evaluation.evaluate import evaluate
from vqcli.library.networks import INCEPTION, NETWORKS
from vqcli.nn.random_weights import random_weights

pytestmark = pytest.mark.usefixtures("small_evaluations")

ALL = ("fid", "sfid", "kid", "inception_score", "precision_recall")


def test_numbers_that_few_images_cannot_give_are_not_given(tmp_path):
    images(tmp_path / "a", 7)
    images(tmp_path / "b", 9)
    found = evaluate(options(tmp_path / "a", tmp_path / "b", ALL, few_images=False))
    names = ["fid", "sfid", "kid", "inception_score", "precision", "recall"]
    assert found.results == dict.fromkeys(names)
    assert found.unmeasured["fid"].startswith("7 images to measure, at least 50 are needed (--force")
    assert found.unmeasured["inception_score"].startswith("7 images, at least 50")
    assert found.cautions == {}
    rows = dict(found.rows())
    assert rows["FID"].startswith("not measured: 7 images")
    assert rows["network"].startswith("fid-inception, random weights")
    forced = evaluate(options(tmp_path / "a", tmp_path / "b", ALL))
    assert None not in forced.results.values()
    assert forced.unmeasured == {}
    assert forced.cautions["fid"].startswith("7 images to measure, fewer than 8 features: biased upwards")
    assert "kid" not in forced.cautions


def test_numbers_of_few_images_say_so(tmp_path):
    """The network here has eight features and five classes, so that FID has enough images."""
    images(tmp_path / "a", 50)
    found = evaluate(options(tmp_path / "a", tmp_path / "a", ALL, few_images=False))
    assert found.unmeasured == {}
    assert found.cautions.keys() == {"precision", "recall"}
    assert found.cautions["recall"].startswith("50 images a side, fewer than 10,000: both depend on how many")
    assert f"({found.cautions['recall']})" in dict(found.rows())["recall"]


def test_reconstructions_and_statistics_are_counted_too(tmp_path):
    model = make_model(tmp_path / "model", side=16)
    found = evaluate(options(model, "demo:12", ("psnr", "fid"), few_images=False))
    assert found.results["psnr"] is not None
    assert (found.results["rfid"], list(found.unmeasured)) == (None, ["fid"])
    assert dict(found.rows())["rFID"].startswith("not measured: 12 images a side")
    images(tmp_path / "a", 50)
    images(tmp_path / "b", 5)
    evaluate(options(tmp_path / "a", None, ("fid",), statistics=tmp_path / "s.npz"))
    found = evaluate(options(tmp_path / "b", tmp_path / "s.npz", ("fid",), few_images=False))
    assert found.unmeasured["fid"].startswith("5 images to measure, at least 50")
    evaluate(options(tmp_path / "b", None, ("fid",), statistics=tmp_path / "few.npz"))
    found = evaluate(options(tmp_path / "a", tmp_path / "few.npz", ("fid",), few_images=False))
    assert found.unmeasured["fid"].startswith("5 images to measure against, at least 50")
    with np.load(tmp_path / "few.npz") as file:
        np.savez(tmp_path / "adm.npz", **{name: file[name] for name in ("mu", "sigma")})
    found = evaluate(options(tmp_path / "b", tmp_path / "adm.npz", ("fid",), few_images=False))
    assert found.unmeasured["fid"].startswith("5 images, at least 50")


def test_only_the_published_file_is_called_so(tmp_path, monkeypatch):
    """By the hash of the file: a name tells nothing."""
    images(tmp_path / "a", 3)
    own = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    torch.save(random_weights(TinyInception().published()), own)
    asked = options(tmp_path / "a", tmp_path / "a", ("fid",), random_networks=False)
    for given in (own, tmp_path):
        found = evaluate(replace(asked, inception_weights=given))
        assert found.networks["fid-inception"].startswith("other weights than the published, SHA-256 ")
        assert found.cautions["fid"].endswith("; by other weights of fid-inception than the published")
    known = replace(INCEPTION, sha256=files.sha256(own))
    monkeypatch.setitem(NETWORKS, "fid-inception", replace(NETWORKS["fid-inception"], files=(known,)))
    found = evaluate(replace(asked, inception_weights=own))
    assert found.networks["fid-inception"].startswith("published weights, SHA-256 ")
    assert "other weights" not in found.cautions["fid"]


def test_a_record_and_its_card_say_what_is_wrong(tmp_path):
    model = make_model(tmp_path / "model", side=16)
    torch.save(random_weights(TinyInception().published()), tmp_path / "own.pth")
    asked = options(model, "demo:12", ("usage", "psnr", "fid"), random_networks=False, record=True)
    found = evaluate(replace(asked, inception_weights=tmp_path / "own.pth"))
    stored = json.loads((model / "usage.json").read_text())
    assert stored["cautions"] == found.cautions
    card = (model / "README.md").read_text()
    assert f"rFID {stored['rfid']:.2f} ({found.cautions['rfid']})" in card
    again = evaluate(replace(asked, inception_weights=tmp_path / "own.pth", few_images=False))
    assert again.results["rfid"] is None
    assert "rfid" not in json.loads((model / "usage.json").read_text())
    assert "rFID" not in (model / "README.md").read_text()
