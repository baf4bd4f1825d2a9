"""``vqcli classify`` and ``vqcli evaluate`` on a classifier, as a user meets them."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.cli.said import refused
from tests.images import picture, save
from tests.models import make_classifier, make_generator, make_model
from vqcli.cli.app import app
from vqcli.data.images.demo import CLASSES as DRAWN

CLASSES = list(DRAWN)
FEW = ("--num-workers", "0", "--device", "cpu")


def vqcli(command, *arguments):
    return CliRunner().invoke(app, [command, *map(str, arguments)], prog_name="vqcli")


def classify(*arguments):
    return vqcli("classify", *arguments, *FEW)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "tokenizer")


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    return make_classifier(tmp_path_factory.mktemp("models") / "vit", tokenizer, names=CLASSES)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    data = save(Image.fromarray(picture(32, 32)), "JPEG")
    for i in range(5):
        (folder / f"{i}.jpg").write_bytes(data[:200] if i == 2 else data)
    return folder


def test_what_is_said(tmp_path, model):
    out = tmp_path / "out.csv"
    done = classify(model, "demo:12", "-o", out)
    assert done.exit_code == 0, done.output
    first, *lines, last = done.stdout.splitlines()
    assert re.fullmatch(rf"{out}  12 images, 10 classes, [\d,]+\.\d images/s, model {model}", first)
    assert len(lines) == 10
    assert re.fullmatch(rf"  demo/train/0{{6}} +({'|'.join(CLASSES)}) +\d+\.\d%", lines[0])
    assert last == "  and 2 more"
    assert refused(classify(model, "demo:12", "-o", out), "out.csv exists already", "--force to replace it")
    assert classify(model, "demo:12", "-o", out, "-q", "--force").stdout == f"{out}\n"
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["out.csv"]


def test_both_forms_tell_the_same(tmp_path, model):
    for form in ("csv", "jsonl"):
        assert classify(model, "demo:7", "-o", tmp_path / f"out.{form}", "--top", 3).exit_code == 0
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == [line["key"] for line in lines]
    for row, line in zip(rows, lines, strict=True):
        assert (row["status"], line["status"], row["reason"]) == ("ok", "ok", "")
        told = line["predictions"]
        assert len(told) == 3
        assert sorted((x["probability"] for x in told), reverse=True) == [x["probability"] for x in told]
        for rank, one in enumerate(told, 1):
            assert row[f"class_{rank}"] == str(one["class"])
            assert row[f"name_{rank}"] == one["name"] == CLASSES[one["class"]]
            assert float(row[f"probability_{rank}"]) == one["probability"]


def test_bad_images_are_listed(tmp_path, model, photos):
    out = tmp_path / "out.csv"
    done = classify(model, photos, "-o", out, "--json")
    value = json.loads(done.stdout)
    assert (done.exit_code, value["images"], value["classes"], value["top"]) == (3, 4, 10, 5)
    assert [(bad["key"], bad["reason"]) for bad in value["rejected"]] == [("2.jpg", "truncated")]
    assert [line["key"] for line in value["first"]] == ["0.jpg", "1.jpg", "3.jpg", "4.jpg"]
    assert "warning: 1 input was rejected" in done.stderr
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["key"], row["reason"]) for row in rows if row["status"] == "rejected"] == [
        ("2.jpg", "truncated")
    ]
    assert len(rows) == 5
    strict = classify(model, photos, "-o", tmp_path / "b.csv", "--strict")
    assert refused(strict, "2.jpg: truncated", "without --strict")
    for i in (0, 1, 3, 4):
        (photos / f"{i}.jpg").unlink()
    none = classify(model, photos, "-o", tmp_path / "c.csv")
    assert refused(none, "none of 1 images could be used (truncated)", "are they images")


def test_what_cannot_classify_is_refused(tmp_path, model, tokenizer):
    out = tmp_path / "out.csv"
    assert refused(classify(tokenizer, "demo:2", "-o", out), "holds a tokenizer, not a classifier", "encode")
    assert refused(classify(model, "demo:2", "-o", tmp_path / "out.txt"), "its form by its name", ".jsonl")
    other = make_model(tmp_path / "other", seed=1)
    done = classify(model, "demo:2", "-o", out, "--tokenizer", other)
    assert refused(done, "looks at tokens of tokenizer", "name another with --tokenizer")
    alone = make_classifier(tmp_path / "alone", tokenizer, copied=False)
    assert refused(classify(alone, "demo:2", "-o", out), "without its tokenizer", "--tokenizer MODEL")
    assert classify(alone, "demo:2", "-o", out, "--tokenizer", tokenizer).exit_code == 0
    generator = make_generator(tmp_path / "gpt", tokenizer)
    assert refused(classify(generator, "demo:2", "-o", tmp_path / "b.csv"), "holds a generator", "")


def test_what_info_tells(model):
    told = dict(line.split(maxsplit=1) for line in vqcli("info", model).stdout.splitlines())
    assert told["kind"] == "classifier, vit, layers 2, heads 2, width 16"
    assert told["classes"].startswith("10: disc, ring,")
    assert told["images"] == "8x8 pixels, 4x4 tokens of 16 codes"
    value = json.loads(vqcli("info", model, "--json").stdout)
    assert (value["kind"], value["class_names"]) == ("classifier", list(CLASSES))


def evaluated(*arguments):
    return vqcli("evaluate", *arguments, *FEW, "-b", 4)


def test_accuracy_is_that_of_what_classify_tells(tmp_path, model, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    assert classify(model, "demo:40", "-o", tmp_path / "out.jsonl", "-b", 4).exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    ranked = [[one["class"] for one in line["predictions"]] for line in lines]
    labels = [i % 10 for i in range(40)]
    done = evaluated(model, "--images", "demo:40", "--json", "-o", tmp_path / "report")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    found = value["results"]
    assert found["top1"] == pytest.approx(np.mean([row[0] == i for row, i in zip(ranked, labels)]))
    assert found["top5"] == pytest.approx(np.mean([i in row for row, i in zip(ranked, labels)]))
    assert [one["name"] for one in value["per_class"]] == CLASSES
    assert {one["images"] for one in value["per_class"]} == {4}
    assert value["counts"] == {"classify": 40}
    report = {path.name for path in (tmp_path / "report").iterdir()}
    assert report >= {"results.json", "confusion.svg", "classes.csv", "index.html"}
    svg = (tmp_path / "report" / "confusion.svg").read_text()
    assert svg.startswith("<svg ")
    assert "checkerboard" in svg
    with (tmp_path / "report" / "classes.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == CLASSES
    text = evaluated(model, "--images", "demo:40").stdout
    assert f"{found['top1']:.2%}" in text
    assert "worst classes" in text


def test_tokens_are_judged_as_their_images_are(tmp_path, model, tokenizer, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    tokens = tmp_path / "tokens.npy"
    assert vqcli("encode", "demo:20", "-o", tokens, "-m", tokenizer, *FEW).exit_code == 0
    of_tokens, of_images = (
        json.loads(evaluated(model, "--images", what, "--json").stdout) for what in (tokens, "demo:20")
    )
    assert of_tokens["results"] == of_images["results"]
    assert of_tokens["per_class"] == of_images["per_class"]
    done = evaluated(tokenizer, "--images", tokens, "--metrics", "psnr")
    assert refused(done, "names tokens, not images", "name images with --images")
    other = make_model(tmp_path / "other", seed=1)
    assert vqcli("encode", "demo:8", "-o", tmp_path / "o.npy", "-m", other, *FEW).exit_code == 0
    assert refused(evaluated(model, "--images", tmp_path / "o.npy"), "are of tokenizer", "own tokenizer")


def test_classes_go_by_their_names(tmp_path, model, monkeypatch):
    """A folder of two classes numbers them 0 and 1; the classifier has other numbers for them."""
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    for name in ("star", "cross"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            Image.effect_noise((8, 8), 60).convert("RGB").save(tmp_path / "data" / name / f"{i}.png")
    value = json.loads(evaluated(model, "--images", tmp_path / "data", "--json").stdout)
    assert [(one["class"], one["name"]) for one in value["per_class"]] == [(4, "star"), (5, "cross")]
    (tmp_path / "data" / "star").rename(tmp_path / "data" / "whale")
    done = evaluated(model, "--images", tmp_path / "data")
    assert refused(done, "knows 1 of the 2 classes of the data, but not whale", "leave those images out")
    (tmp_path / "data" / "cross").rename(tmp_path / "data" / "zebra")
    assert refused(
        evaluated(model, "--images", tmp_path / "data"), "has other classes than the 10", "name images"
    )


def test_evaluations_that_make_no_sense_are_refused(tmp_path, model, photos):
    assert refused(evaluated(model), "it needs labelled images", "name some with --images")
    assert refused(evaluated(model, "--images", photos), "5 of 5 images have no class", "folders of classes")
    for flag in (("--size", "16"), ("--eval-size", "16")):
        assert refused(evaluated(model, "--images", "demo:4", *flag), flag[0], "leave it out")
    psnr = evaluated(model, "--images", "demo:4", "--metrics", "psnr")
    assert refused(psnr, "psnr cannot be measured", "--metrics accuracy")
    sampled = evaluated(model, "--images", "demo:4", "--sampling", "cfg=2")
    assert refused(sampled, "is no generator: it takes no --sampling", "leave it out")
    assert refused(
        evaluated(model, "--images", "demo:4", "--record"), "--record is for a tokenizer", "tokenizer"
    )
    whole = evaluated("demo:8", "--images", "demo:8", "--metrics", "accuracy")
    assert refused(whole, "accuracy cannot be measured", "give a classifier as the target")


def test_bad_images_of_an_evaluation_are_listed(tmp_path, model, monkeypatch):
    monkeypatch.setenv("VQCLI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data" / "star").mkdir(parents=True)
    data = save(Image.fromarray(picture(32, 32)), "JPEG")
    for i in range(4):
        (tmp_path / "data" / "star" / f"{i}.jpg").write_bytes(data[:200] if i == 2 else data)
    done = evaluated(model, "--images", tmp_path / "data", "--json")
    value = json.loads(done.stdout)
    assert (done.exit_code, value["counts"]) == (3, {"classify": 3})
    assert [(bad["key"], bad["reason"]) for bad in value["rejected"]] == [("star/2.jpg", "truncated")]
