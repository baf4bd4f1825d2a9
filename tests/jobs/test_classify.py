"""Predictions in shards: no interruption changes them, and no other job's are taken for them."""

import json

import numpy as np
import pytest
from PIL import Image

import vqcli
from tests.jobs.evaluations import Stopper
from tests.models import make_classifier, make_model
from tests.processes import two_processes
from vqcli.errors import VqcliError
from vqcli.jobs import classify as job
from vqcli.jobs.classify import classify
from vqcli.jobs.options import ClassifyOptions


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    return make_classifier(tmp_path_factory.mktemp("models") / "vit", tokenizer)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(job, "SHARD", 4)


def options(model, images="demo:11", **other):
    return ClassifyOptions(str(model), images, **{"batch_size": 4, "device": "cpu", "num_workers": 0} | other)


def test_an_interruption_changes_no_byte(tmp_path, model):
    whole, stopped = tmp_path / "whole.csv", tmp_path / "stopped.csv"
    done = classify(options(model), whole)
    assert (done.images, done.top, done.rejected) == (11, 4, [])
    with pytest.raises(KeyboardInterrupt):
        classify(options(model), stopped, progress=Stopper(9))
    assert not stopped.exists()
    again = Stopper(100)
    classify(options(model), stopped, progress=again)
    assert again.begun == [("classify", 11, 8)]
    assert stopped.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "stopped.csv.partial").exists()


def test_a_damaged_shard_is_made_again(tmp_path, model):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    classify(options(model), whole)
    with pytest.raises(KeyboardInterrupt):
        classify(options(model), out, progress=Stopper(9))
    first = tmp_path / "out.jsonl.partial" / "lines-00000.json"
    first.write_text(first.read_text().replace('"ok"', '"no"', 1))
    classify(options(model), out)
    assert out.read_bytes() == whole.read_bytes()


def test_another_job_is_not_continued(tmp_path, model):
    out = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        classify(options(model), out, progress=Stopper(9))
    with pytest.raises(VqcliError, match="holds predictions of another job: top 4 -> 2"):
        classify(options(model, top=2), out)
    assert classify(options(model, top=2), out, force=True).top == 2


def test_the_door_tells_the_same(tmp_path, model):
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (12, 9, 3), np.uint8)) for _ in range(3)]
    for i, image in enumerate(pictures):
        image.save(tmp_path / f"{i}.png")
    classify(options(model, str(tmp_path)), tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    opened = vqcli.load(model, "cpu")
    assert isinstance(opened, vqcli.ClassifierModel)
    assert opened.classes == ["tabby cat", "tiger cat", "Red Panda!", "owl"]
    found = opened.classify(pictures, top=2)
    assert isinstance(found, vqcli.Classified)
    assert (len(found), found.labels.shape, found.probabilities.dtype) == (3, (3, 2), np.float32)
    for i, line in enumerate(lines):
        told = line["predictions"][:2]
        assert [one["class"] for one in told] == found.labels[i].tolist()
        assert [one["name"] for one in told] == found.names[i]
        np.testing.assert_allclose([one["probability"] for one in told], found.probabilities[i], atol=1e-5)
    with pytest.raises(ValueError, match="top is at least 1"):
        opened.classify(pictures, top=0)


def test_a_tokenizer_of_codes_in_several_depths(tmp_path):
    residual = make_model(tmp_path / "vq", quantizer={"name": "residual", "depth": 2})
    model = make_classifier(tmp_path / "vit", residual)
    assert classify(options(model), tmp_path / "out.csv").images == 11


SHARED = "from vqcli.jobs import classify; classify.SHARD = 4; from vqcli.cli.app import main; main()"


def test_two_processes_write_the_same_bytes(tmp_path, model):
    classify(options(model), tmp_path / "one.csv")
    given = ("classify", model, "demo:11", "-b", "4", "--num-workers", "0", "--device", "cpu")
    assert two_processes(SHARED, *given, "-o", tmp_path / "two.csv").count("11 images") == 1
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert not (tmp_path / "two.csv.partial").exists()
